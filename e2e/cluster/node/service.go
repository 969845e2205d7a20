package node

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A service follows its unit through these states; systemctl shows them under the same names.
//
//	inactive ──start──► activating ──ready──► active
//	    ▲                   │  ▲                │
//	    │                exit  └─── backoff ────┤ exit
//	    └── exit ── deactivating ◄──── stop ────┘
type serviceState string

const (
	inactive     serviceState = "inactive"
	activating   serviceState = "activating"
	active       serviceState = "active"
	deactivating serviceState = "deactivating"
)

const (
	// stopPatience is what a service gets between SIGTERM and SIGKILL, startPatience what systemctl waits for it to be up.
	stopPatience, startPatience = 10 * time.Second, 90 * time.Second
	// A service that dies is started again after firstBackoff, twice that the next time, up to lastBackoff; calm makes it start over.
	firstBackoff, lastBackoff, calm = 500 * time.Millisecond, 8 * time.Second, 30 * time.Second
)

// service keeps one unit running. Its loop owns everything but what is under the lock.
type service struct {
	unit    unit
	procs   *processes
	log     *slog.Logger
	wants   chan want
	backoff time.Duration

	mu      sync.Mutex
	state   serviceState
	pid     int
	starts  int
	since   time.Time
	changed chan struct{}
}

// want is one order to a service; done is closed when the service is where it was wanted.
type want struct {
	stop, start bool
	done        chan struct{}
}

func newService(u unit, procs *processes, log *slog.Logger) *service {
	return &service{
		unit: u, procs: procs, log: log.With("unit", u.Name), wants: make(chan want), backoff: firstBackoff,
		state: inactive, since: time.Now(), changed: make(chan struct{}),
	}
}

// keep obeys orders and starts the service again when it dies.
func (s *service) keep() {
	var running *child
	var again <-chan time.Time
	for {
		var exited <-chan unix.WaitStatus
		var ready <-chan struct{}
		if running != nil {
			exited, ready = running.exited, running.ready
		}
		select {
		case w := <-s.wants:
			again = nil
			if w.stop {
				s.end(running)
				running = nil
			}
			if w.start && running == nil {
				running = s.begin()
			}
			if w.start && running == nil {
				again = time.After(s.nextBackoff())
			}
			close(w.done)
		case <-ready:
			running.ready = nil
			s.set(active, running.pid)
		case status := <-exited:
			running = nil
			delay := s.nextBackoff()
			s.log.Warn("exited on its own", "status", describe(status), "again", delay)
			s.set(activating, 0)
			again = time.After(delay)
		case <-again:
			again = nil
			if running = s.begin(); running == nil {
				again = time.After(s.nextBackoff())
			}
		}
	}
}

// begin starts the process, or returns nil when that is impossible.
func (s *service) begin() *child {
	running, err := s.procs.start(s.unit)
	if err != nil {
		s.log.Error("not started", "error", err)
		s.set(activating, 0)
		return nil
	}
	s.log.Info("started", "pid", running.pid)
	s.mu.Lock()
	s.starts++
	s.mu.Unlock()
	s.set(activating, running.pid)
	return running
}

// end stops the process alone: what it started (shims, containers) lives on, as under systemd's KillMode=process.
func (s *service) end(running *child) {
	if running != nil {
		s.set(deactivating, running.pid)
		_ = unix.Kill(running.pid, unix.SIGTERM)
		select {
		case status := <-running.exited:
			s.log.Info("stopped", "status", describe(status))
		case <-time.After(stopPatience):
			_ = unix.Kill(running.pid, unix.SIGKILL)
			<-running.exited
			s.log.Warn("killed", "patience", stopPatience)
		}
	}
	s.backoff = firstBackoff
	s.set(inactive, 0)
}

func (s *service) nextBackoff() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == active && time.Since(s.since) > calm {
		s.backoff = firstBackoff
	}
	delay := s.backoff
	s.backoff = min(2*s.backoff, lastBackoff)
	return delay
}

func (s *service) set(state serviceState, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.pid, s.since = state, pid, time.Now()
	close(s.changed)
	s.changed = make(chan struct{})
}

// order hands an order over and waits until it is carried out, which for a start means: the process runs.
func (s *service) order(w want) {
	w.done = make(chan struct{})
	s.wants <- w
	<-w.done
}

// awaitActive waits until the service is up. It gives up when the process died a second time, as systemctl does.
func (s *service) awaitActive(patience time.Duration) error {
	deadline := time.After(patience)
	s.mu.Lock()
	first := s.starts
	s.mu.Unlock()
	for {
		s.mu.Lock()
		state, starts, changed := s.state, s.starts, s.changed
		s.mu.Unlock()
		switch {
		case state == active:
			return nil
		case state == inactive || starts > first:
			return fmt.Errorf("unit %q did not come up, it is %s after %d starts", s.unit.Name, state, starts)
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("unit %q is still %s after %s", s.unit.Name, state, patience)
		}
	}
}

// status is a copy of what is known, for people.
func (s *service) status() (state serviceState, pid int, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.pid, s.since
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
