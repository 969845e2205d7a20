package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"longshore.dev/longshore/payload"
)

// The scripts in testdata/payload have two registries: $REGISTRY lets everybody in, $LOCKED only `me` with the password `secret`.
func TestPayloadScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/payload",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "subst": subst},
		Setup: func(env *testscript.Env) error {
			handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			everybody := httptest.NewServer(handler)
			locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
					w.Header().Set("WWW-Authenticate", `Basic realm="locked"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				handler.ServeHTTP(w, r)
			}))
			env.Defer(everybody.Close)
			env.Defer(locked.Close)
			env.Setenv("REGISTRY", strings.TrimPrefix(everybody.URL, "http://"))
			env.Setenv("LOCKED", strings.TrimPrefix(locked.URL, "http://"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

// subst puts the values of the script's variables into a file.
func subst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: subst FILE")
	}
	file := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// toldOver is what a progress writes over a transfer of a minute, a step a second.
func toldOver(width, seconds int) string {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{out: &out, now: func() time.Time { return now }, width: width}
	for i := range seconds + 1 {
		now = time.Unix(int64(i), 0)
		p.tell(payload.Transfer{What: "pull example.com/kata:1", Done: int64(i) << 20, Total: 60 << 20})
	}
	p.end()
	return out.String()
}

func TestAShortTransferNeedsNoWord(t *testing.T) {
	for _, width := range []int{0, 80} {
		if got := toldOver(width, 0); got != "" {
			t.Errorf("width %d: %q", width, got)
		}
	}
}

func TestALongTransferIsALineNowAndThenWhereThereIsNoTerminal(t *testing.T) {
	want := "15.0 MiB of 60.0 MiB  pull example.com/kata:1\n30.0 MiB of 60.0 MiB  pull example.com/kata:1\n"
	if got := toldOver(0, 40); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestALongTransferIsABarOnATerminalWhichGoesAtTheEnd(t *testing.T) {
	want := "\r[                              ] 1.0 MiB of 60.0 MiB  pull example.com/kata:1\x1b[K" +
		"\r[=                             ] 2.0 MiB of 60.0 MiB  pull example.com/kata:1\x1b[K\r\x1b[K"
	if got := toldOver(100, 2); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for part := range strings.SplitSeq(toldOver(40, 60), "\r") {
		if n := cellsOf(strings.TrimSuffix(part, "\x1b[K")); n >= 40 {
			t.Errorf("%d cells on a terminal of 40: %q", n, part)
		}
	}
}
