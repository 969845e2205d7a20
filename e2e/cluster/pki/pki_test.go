package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// TestTheTwoSidesKnowEachOther runs a real handshake: the server is believed by its address, the client is known by user and group.
func TestTheTwoSidesKnowEachOther(t *testing.T) {
	made, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := Parse(made.Pair)
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.Server(Server{Name: "server", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Client("system:node:a", "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.Cert)

	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		subject := r.TLS.PeerCertificates[0].Subject
		if subject.CommonName != "system:node:a" || len(subject.Organization) != 1 || subject.Organization[0] != "system:nodes" {
			t.Errorf("the server saw %s, want user system:node:a of group system:nodes", subject)
		}
	}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{keyPair(t, server)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	backend.StartTLS()
	defer backend.Close()

	known := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{keyPair(t, client)}}}}
	response, err := known.Get(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()

	misused := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{keyPair(t, server)}}}}
	if response, err := misused.Get(backend.URL); err == nil {
		_ = response.Body.Close()
		t.Error("a serving certificate was accepted as a client's")
	}
}

func keyPair(t *testing.T, pair Pair) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
