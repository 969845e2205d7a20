package main

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// troubleTime is how long a trouble is shown: the client tries again, and says so again, more often than that.
const troubleTime = time.Minute

// troubles remembers what keeps the client from seeing the cluster, so that it is not written all over a screen. Of connections that are
// refused the client says nothing itself: it tries again, silently.
type troubles struct {
	mu sync.Mutex
	// said is what the client last wrote into its log, and when.
	said   string
	saidAt time.Time
	// lost is why no call gets through, since when; "" if the last one did.
	lost      string
	lostSince time.Time
}

// watch notices whether calls get through.
func (t *troubles) watch(next http.RoundTripper) http.RoundTripper {
	return &noticed{next: next, troubles: t}
}

// noticed passes calls on.
type noticed struct {
	next     http.RoundTripper
	troubles *troubles
}

// RoundTrip passes a call on and notices how it went.
func (n *noticed) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := n.next.RoundTrip(r)
	t := n.troubles
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.lost = ""
	case r.Context().Err() == nil:
		if t.lost == "" {
			t.lostSince = time.Now()
		}
		t.lost = err.Error()
	}
	return response, err
}

// listen takes the client's log until the function that it returns is called.
func (t *troubles) listen() func() {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("logtostderr", "false")
	_ = flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(t)
	return func() {
		klog.SetOutput(os.Stderr)
		_ = flags.Set("logtostderr", "true")
	}
}

// Write takes a line of the client's log.
func (t *troubles) Write(line []byte) (int, error) {
	_, text, ok := strings.Cut(string(line), "] ")
	if !ok {
		text = string(line)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said, t.saidAt = strings.TrimSpace(text), time.Now()
	return len(line), nil
}

// last is the present trouble and since when it is known, "" if there is none.
func (t *troubles) last(now time.Time) (string, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.lost != "":
		return t.lost, t.lostSince
	case t.said != "" && now.Sub(t.saidAt) <= troubleTime:
		return t.said, t.saidAt
	}
	return "", time.Time{}
}
