package payload

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Client opens and writes images. The zero value works.
type Client struct {
	// Logins are credentials for one registry each; for all others the configuration of Docker or Podman is asked.
	Logins []Login
	// PlainHTTP lets registries speak without TLS.
	PlainHTTP bool
	// Timeout is how long a registry may say nothing; 0 waits for ever.
	Timeout time.Duration
	// Backoff is how often, and after which pauses, an answer such as 429 or 500 is asked for again; the zero value is three times within
	// four seconds.
	Backoff remote.Backoff
	// UserAgent is what registries see.
	UserAgent string
	// Progress is told how far a transfer has come, from one goroutine at a time; nil for nobody.
	Progress func(Transfer)

	once      sync.Once
	transport http.RoundTripper
}

// remote is how a registry is spoken to about a reference.
func (c *Client) remote(ctx context.Context, ref Ref) (name.Reference, []remote.Option, error) {
	named := ref.Name
	if c.PlainHTTP {
		insecure, err := name.ParseReference(ref.text, name.Insecure)
		if err != nil {
			return nil, nil, fmt.Errorf("image %q: %s", ref, oneLine(err.Error()))
		}
		named = insecure
	}
	c.once.Do(func() { c.transport = patient(c.Timeout) })
	options := []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(c.transport),
		remote.WithAuthFromKeychain(keychain{logins: c.Logins, others: authn.DefaultKeychain}),
	}
	if c.UserAgent != "" {
		options = append(options, remote.WithUserAgent(c.UserAgent))
	}
	if c.Backoff.Steps > 0 {
		options = append(options, remote.WithRetryBackoff(c.Backoff))
	}
	return named, options, nil
}

// patient is a transport that waits as long as something moves: for a registry that does not answer, and for one that stops in the middle
// of a blob, but not for how long a large blob takes.
func patient(timeout time.Duration) http.RoundTripper {
	transport := remote.DefaultTransport.(*http.Transport).Clone() // it is one
	if timeout <= 0 {
		return transport
	}
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	transport.TLSHandshakeTimeout = timeout
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &moving{conn, timeout}, nil
	}
	return transport
}

// moving is a connection on which something has to move within a time. Writing counts for reading as well, because HTTP waits for the
// answer while it still sends.
type moving struct {
	net.Conn
	timeout time.Duration
}

func (m *moving) Read(p []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.timeout)); err != nil {
		return 0, err
	}
	return m.Conn.Read(p)
}

func (m *moving) Write(p []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.timeout)); err != nil {
		return 0, err
	}
	return m.Conn.Write(p)
}
