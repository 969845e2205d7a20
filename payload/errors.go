package payload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// failure is an error in one line that says all there is to say; what it was made from is not handed on, so that nobody explains it again.
type failure string

func (f failure) Error() string { return oneLine(string(f)) }

// explain makes one line of what went wrong while an image was pulled or pushed: what was done, with which image, and what the answer was.
func (c *Client) explain(doing string, ref Ref, err error) error {
	if known, ok := errors.AsType[failure](err); ok {
		return known
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: interrupted: %w", doing, ref, context.Canceled)
	}
	if ref.Place != PlaceRegistry {
		return failure(fmt.Sprintf("%s: %s", ref, err))
	}
	said := func(format string, args ...any) error {
		return failure(fmt.Sprintf("%s %s: ", doing, ref) + fmt.Sprintf(format, args...))
	}
	var (
		answer    *transport.Error
		timeout   net.Error
		lookup    *net.DNSError
		authority x509.UnknownAuthorityError
		record    tls.RecordHeaderError
	)
	switch registry := ref.Registry(); {
	case errors.As(err, &authority):
		return said("registry %s: its certificate is signed by an unknown authority; give the authority with $SSL_CERT_FILE", registry)
	case errors.As(err, &answer):
		return said("%s", answered(registry, doing, answer))
	case errors.As(err, &lookup):
		return said("registry %s: no such host", registry)
	case errors.Is(err, syscall.ECONNREFUSED):
		return said("registry %s: connection refused: nothing listens there", registry)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return said("registry %s does not answer: nothing came for %s", registry, c.Timeout)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return said("registry %s speaks HTTP without TLS; allow it with --plain-http", registry)
	}
	return said("%s", err)
}

// answered is what an answer of a registry means.
func answered(registry, doing string, answer *transport.Error) string {
	meaning := "unexpected"
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized:
		meaning = "the credentials are wrong, or none were given (docker login, or --username and --password-file)"
	case code == http.StatusForbidden:
		meaning = "these credentials may not " + doing + " there"
	case code == http.StatusNotFound && doing == "pull":
		meaning = "no such repository, tag or blob"
	case code == http.StatusNotFound:
		meaning = "no such repository"
	case code == http.StatusTooManyRequests:
		meaning = "the registry's limit is used up; try again later, or with credentials"
	case code >= http.StatusInternalServerError:
		meaning = "the registry has a problem of its own; try again later"
	}
	asked := ""
	if r := answer.Request; r != nil {
		// It may be another registry that answered: the one where the base comes from, or the one that gives tokens.
		registry, asked = r.URL.Host, " to "+r.Method+" "+r.URL.Path
	}
	text := fmt.Sprintf("registry %s answered %d %s%s: %s", registry, answer.StatusCode, http.StatusText(answer.StatusCode), asked, meaning)
	var said []string
	for _, d := range answer.Errors {
		said = append(said, strings.TrimSuffix(fmt.Sprintf("%s: %s", d.Code, d.Message), ": "))
	}
	if len(said) > 0 {
		text += " (" + strings.Join(said, "; ") + ")"
	}
	return text
}

// prefixed puts a text before every one of several errors.
func prefixed(text string, err error) error {
	var several interface{ Unwrap() []error }
	if !errors.As(err, &several) {
		return fmt.Errorf("%s: %w", text, err)
	}
	var errs []error
	for _, one := range several.Unwrap() {
		errs = append(errs, fmt.Errorf("%s: %w", text, one))
	}
	return errors.Join(errs...)
}
