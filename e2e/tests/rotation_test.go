package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

// rotating is a registry of the test's own whose password changes.
type rotating struct {
	address  string
	password atomic.Pointer[string]
}

const rotatingUser = "rotated"

func (s *suite) rotating(password string) *rotating {
	s.t.Helper()
	content, err := images.NewRegistry(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	listener, err := s.c.Listen(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	r := &rotating{address: listener.Addr().String()}
	r.password.Store(&password)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		images.BasicAuth(content, rotatingUser, *r.password.Load()).ServeHTTP(w, request)
	})}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	}()
	s.t.Cleanup(func() { _ = server.Close() })
	return r
}

// push pushes a payload that writes its name into the runtime's log.
func (r *rotating) push(s *suite, name string) string {
	s.t.Helper()
	script := fmt.Sprintf("#!/bin/sh\nset -eu\necho \"$LONGSHORE_OPERATION %s\" >> /host/opt/$LONGSHORE_RUNTIME.log\n", name)
	content, err := payloads.Script(s.t.Context(), os.Stdout, map[string]string{"/install.sh": script, "/uninstall.sh": script})
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := images.Build(content)
	if err != nil {
		s.t.Fatal(err)
	}
	target := images.Target{Ref: r.address + "/" + name + ":1", PlainHTTP: true, Username: rotatingUser, Password: *r.password.Load()}
	ref, err := images.Push(s.t.Context(), target, image)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// TestCredentialsThatAreRotatedPullTheNextPayload has payload-config there before the spec, so that the spec's own payload never runs, and then
// replaces a password that works by another one.
func TestCredentialsThatAreRotatedPullTheNextPayload(t *testing.T) {
	s := start(t, "rotated")
	const before, after = "pass-word-before", "pass-word-after"
	registry := s.rotating(before)
	first := registry.push(s, "first")
	t.Cleanup(func() {
		s.remove()
		if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(context.Background(), "payload-config", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	s.payloadConfig(first)
	s.credentials("longshore", map[string]string{"username": rotatingUser, "password": before})
	released := s.payload("rotated:1", map[string]string{"/install.sh": "#!/bin/sh\nexit 1\n", "/uninstall.sh": "#!/bin/sh\nexit 1\n"})
	s.apply(fmt.Sprintf(specText, "rotated", released, "kubernetes.io/hostname="+nodeA))
	revision := s.ready("rotated", 1)
	if p := s.progress(t.Context(), nodeA); !p.Tainted {
		t.Errorf("node %s tells %+v, expected it to be tainted", nodeA, p)
	}

	password := after
	registry.password.Store(&password)
	second := registry.push(s, "second")
	s.credentials("longshore", map[string]string{"username": rotatingUser, "password": after})
	s.payloadConfig(second)
	s.wait(t.Context(), "the second payload is there", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "rotated")
		return st.phase == "Ready" && st.revision != revision && strings.Contains(st.message, second), fmt.Sprintf("%+v %+v", st, s.progress(ctx, nodeA))
	})
	s.nowhere(before, after)
	s.remove()
	if got, want := s.log(nodeA), "install first\ninstall second\nuninstall second"; got != want {
		t.Errorf("the commands ran\n%s\nexpected\n%s", got, want)
	}
	if out, err := s.exec(nodeA, "rm", "/opt/rotated.log"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
