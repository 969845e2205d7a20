// Package faults answers: what if it breaks just now?
//
// A controller outside of the cluster talks to the API server through a proxy that knows the moments of a rollout (booking, gate, result, …). A
// test lays traps at moments, has the proxy answer errors, holds watches back or takes the API server away, and kills or pauses the
// controller, which is a process of its own with the rights it is shipped with.
package faults

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"longshore.dev/longshore/e2e/cluster/pki"
)

// Proxy stands in front of an API server, at loopback. What a request may do is decided by its own token.
type Proxy struct {
	address   string
	authority *pki.Authority
	pair      tls.Certificate
	forward   *httputil.ReverseProxy

	mu      sync.Mutex
	server  *http.Server
	ended   chan struct{}
	traps   []*Trap
	answer  func(*Request) int
	watches map[*watch]bool
	held    chan struct{}
}

// NewProxy returns a proxy that serves until [Proxy.Close].
func NewProxy(ctx context.Context, config *rest.Config) (*Proxy, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("proxy: address of the API server: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.CAData) {
		return nil, errors.New("proxy: no authority of the API server in the configuration")
	}
	p := &Proxy{watches: map[*watch]bool{}}
	if err := p.certify(); err != nil {
		return nil, err
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		// A client that is cut off learns nothing; an answer of the proxy's own would be one that the API server never gave.
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ModifyResponse: p.watch,
	}
	return p, p.Up(ctx)
}

// certify gives the proxy a name that clients believe: a client sends its token to nobody else.
func (p *Proxy) certify() error {
	var err error
	if p.authority, err = pki.NewAuthority("faults"); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	pair, err := p.authority.Server(pki.Server{Name: "faults", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.pair, err = tls.X509KeyPair(pair.Cert, pair.Key)
	return err
}

// Up has the API server reachable again, at the same address as before.
func (p *Proxy) Up(ctx context.Context) error {
	address := p.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.address = listener.Addr().String()
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{p.pair}, MinVersion: tls.VersionTLS12},
	}
	p.mu.Lock()
	p.server, p.ended = server, make(chan struct{})
	p.mu.Unlock()
	ended := p.ended
	go func() {
		_ = server.ServeTLS(listener, "", "")
		close(ended)
	}()
	return nil
}

// Down makes the API server unreachable: connections are refused, and those that were open are cut, watches included.
func (p *Proxy) Down() {
	p.mu.Lock()
	server, ended := p.server, p.ended
	p.mu.Unlock()
	_ = server.Close()
	<-ended
}

// Close ends the proxy.
func (p *Proxy) Close() {
	p.Calm()
	p.Down()
}

// Calm takes off every trap, answer and hold.
func (p *Proxy) Calm() {
	p.mu.Lock()
	p.traps, p.answer = nil, nil
	p.mu.Unlock()
	p.ReleaseWatches()
}

// Trap lays a trap: the first request of the moment triggers it.
func (p *Proxy) Trap(moment Moment, when When, strike func()) *Trap {
	t := &Trap{moment: moment, when: when, strike: strike, struck: make(chan struct{})}
	p.mu.Lock()
	p.traps = append(p.traps, t)
	p.mu.Unlock()
	return t
}

// What [Proxy.Answer] may say besides an HTTP status: the request goes through, or it goes through and its answer is lost.
const (
	Pass = 0
	Lose = -1
)

// Answer has the proxy itself answer requests, with the HTTP status that the function returns, [Pass] or [Lose].
func (p *Proxy) Answer(answer func(*Request) int) {
	p.mu.Lock()
	p.answer = answer
	p.mu.Unlock()
}

// ServeHTTP forwards one request, unless something was planned for it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	request := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Body: string(body)}
	switch status := p.status(request); status {
	case Pass:
	case Lose:
		p.lose(r)
	default:
		refuse(w, status)
		return
	}
	trap := p.spring(request)
	if trap == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	defer close(trap.struck)
	switch trap.when {
	case Before:
		trap.strike()
		panic(http.ErrAbortHandler)
	case Held:
		trap.strike()
		p.forward.ServeHTTP(w, r)
	case During:
		p.perform(r)
		trap.strike()
		panic(http.ErrAbortHandler)
	case After:
		p.forward.ServeHTTP(w, r)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		trap.strike()
	}
}

// perform has the API server do what it is asked for, whatever becomes of the one who asks.
func (p *Proxy) perform(r *http.Request) {
	p.forward.ServeHTTP(discard{http.Header{}}, r.WithContext(context.WithoutCancel(r.Context())))
}

// lose has the request done and cuts its client off.
func (p *Proxy) lose(r *http.Request) {
	p.perform(r)
	panic(http.ErrAbortHandler)
}

func (p *Proxy) status(r *Request) int {
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer == nil {
		return 0
	}
	return answer(r)
}

// spring returns the first trap that the request triggers, and takes it off.
func (p *Proxy) spring(r *Request) *Trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.traps {
		if t.moment.Match(r) {
			p.traps = append(p.traps[:i:i], p.traps[i+1:]...)
			return t
		}
	}
	return nil
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// refuse answers as an API server does.
func refuse(w http.ResponseWriter, status int) {
	reasons := map[int]string{
		http.StatusConflict: "Conflict", http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalError",
		http.StatusServiceUnavailable: "ServiceUnavailable", http.StatusGone: "Expired",
	}
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"a fault that was asked for","reason":%q,"code":%d}`, reasons[status], status)
}
