package node

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// idle makes a machine with one service that never runs: nothing here starts a process.
func idle() *machine {
	log := slog.New(slog.DiscardHandler)
	s := newService(unit{Name: "containerd", Argv: []string{"/usr/bin/containerd"}}, newProcesses(), log)
	return &machine{log: log, services: map[string]*service{"containerd": s}}
}

func TestSystemctl(t *testing.T) {
	tests := map[string]struct {
		args   string
		state  serviceState
		code   int
		stdout string
		stderr string
	}{
		"active":               {"is-active containerd", active, 0, "active\n", ""},
		"with its suffix":      {"is-active containerd.service", active, 0, "active\n", ""},
		"coming up":            {"is-active containerd", activating, 3, "activating\n", ""},
		"quiet":                {"is-active --quiet containerd", inactive, 3, "", ""},
		"status":               {"status containerd", active, 0, "containerd.service", ""},
		"no such unit":         {"restart docker", active, 5, "", "Unit docker not found."},
		"one of two unknown":   {"is-active containerd docker", active, 5, "active\n", "Unit docker not found."},
		"reload of units":      {"daemon-reload", active, 0, "", ""},
		"no unit":              {"restart", active, 1, "", "no unit given"},
		"no command":           {"--quiet", active, 1, "", "no command given"},
		"unknown command":      {"isolate rescue", active, 1, "", `"isolate" is not known`},
		"enabled, always":      {"is-enabled containerd", inactive, 0, "enabled\n", ""},
		"try-restart, stopped": {"try-restart containerd", inactive, 0, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := idle()
			m.services["containerd"].set(test.state, 1)
			reply := m.systemctl(strings.Fields(test.args))
			if reply.Code != test.code || !strings.Contains(reply.Stdout, test.stdout) || (test.stdout == "") != (reply.Stdout == "") {
				t.Errorf("systemctl %s = %d, %q; want %d, %q", test.args, reply.Code, reply.Stdout, test.code, test.stdout)
			}
			if !strings.Contains(reply.Stderr, test.stderr) || (test.stderr == "") != (reply.Stderr == "") {
				t.Errorf("systemctl %s said %q, want %q", test.args, reply.Stderr, test.stderr)
			}
		})
	}
}

func TestBackoffDoublesUpToALimitAndStartsOverAfterACalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := idle().services["containerd"]
		var delays []time.Duration
		for range 6 {
			s.set(active, 1)
			delays = append(delays, s.nextBackoff())
		}
		if delays[0] != firstBackoff || delays[1] != 2*firstBackoff || delays[5] != lastBackoff {
			t.Errorf("delays = %v", delays)
		}
		s.set(active, 1)
		time.Sleep(calm + time.Second)
		if delay := s.nextBackoff(); delay != firstBackoff {
			t.Errorf("delay after a calm = %s, want %s", delay, firstBackoff)
		}
	})
}

func TestAwaitActive(t *testing.T) {
	tests := map[string]struct {
		happens func(*service)
		want    string
	}{
		"it comes up":       {func(s *service) { s.set(active, 1) }, ""},
		"it is stopped":     {func(s *service) { s.set(inactive, 0) }, "did not come up, it is inactive"},
		"it dies and again": {func(s *service) { s.mu.Lock(); s.starts++; s.mu.Unlock(); s.set(activating, 2) }, "did not come up, it is activating"},
		"nothing":           {func(*service) {}, "still activating after 1m30s"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := idle().services["containerd"]
				s.set(activating, 1)
				go func() {
					time.Sleep(time.Second)
					test.happens(s)
				}()
				err := s.awaitActive(startPatience)
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("awaitActive = %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestNotifyIsHeardOnce(t *testing.T) {
	address := t.TempDir() + "/notify"
	conn, err := listenNotify(address)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); awaitNotify(conn, ready) }()
	for _, words := range []string{"STATUS=starting\n", "STATUS=up\nREADY=1", "READY=1\n"} {
		sendNotify(t, address, words)
	}
	<-ready
	_ = conn.Close()
	<-ended
	// The socket's file stays, and the next start of the unit replaces it.
	again, err := listenNotify(address)
	if err != nil {
		t.Fatalf("a second start of the unit: %v", err)
	}
	_ = again.Close()
}

func sendNotify(t *testing.T, address, words string) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(words)); err != nil {
		t.Fatal(err)
	}
}
