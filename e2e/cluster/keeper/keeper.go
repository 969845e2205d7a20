// Package keeper answers: what keeps running when the program that started it has gone?
//
// The keeper is a process of its own, the parent of a cluster's control plane. The program that made it holds the other end of a pipe, the
// lifeline. A program that wants the cluster to outlive it says so through the pipe; when the pipe closes without that word, the program
// crashed, and the keeper takes everything down. When the keeper itself dies, the kernel kills its units.
//
//	the starter …                       the keeper …
//	ends, after Keep                    goes on, until Stop from any process
//	ends without Keep, or is killed     calls Abandoned and ends
//	calls Stop                          stops its units, calls Asked and ends
package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is the name under which a program has to be run to become a keeper; its one argument is the state directory.
const Program = "longshore-keeper"

const (
	socketFile   = "keeper.sock"
	identityFile = "keeper.json"
	logFile      = "keeper.log"
	lifelineFD   = 3
	keepWord     = "keep"
)

// Hooks is what a keeper does besides keeping units.
type Hooks struct {
	// Serve runs until the context ends, inside the keeper.
	Serve func(ctx context.Context) error
	// Abandoned is called when the starter went without a word, after the units were stopped.
	Abandoned func(ctx context.Context) error
	// Asked is called when somebody asked the keeper to end, after the units were stopped. Whoever asks waits for the end of the keeper,
	// but may be killed while waiting: what has to happen then, happens here.
	Asked func() error
}

// Run is the life of a keeper.
func Run(ctx context.Context, dir string, hooks Hooks) error {
	asked, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	ctx, abandon := context.WithCancelCause(asked)
	defer abandon(nil)

	if err := saveIdentity(dir); err != nil {
		return err
	}
	service := &Service{units: map[string]*running{}}
	listener, err := net.Listen("unix", filepath.Join(dir, socketFile))
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	server := rpc.NewServer()
	if err := server.RegisterName("Keeper", service); err != nil {
		return err
	}
	go server.Accept(listener)
	go watchLifeline(os.NewFile(lifelineFD, "lifeline"), abandon)
	served := make(chan error, 1)
	go func() { served <- hooks.Serve(ctx) }()

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
	}
	_ = listener.Close()
	errs := []error{failed, service.stopAll()}
	switch {
	case asked.Err() != nil:
		// Also when the starter has gone since: whoever asks is already taking the cluster down, and has the lock or had it when it was killed.
		errs = append(errs, hooks.Asked())
	case errors.Is(context.Cause(ctx), errAbandoned):
		errs = append(errs, hooks.Abandoned(asked))
	}
	return errors.Join(errs...)
}

var errAbandoned = errors.New("the program that started the cluster ended without a word")

func watchLifeline(lifeline *os.File, abandon context.CancelCauseFunc) {
	word := make([]byte, len(keepWord))
	n, err := lifeline.Read(word)
	if err != nil || string(word[:n]) != keepWord {
		abandon(errAbandoned)
	}
	_ = lifeline.Close()
}

// Service is what a Client calls; its methods have the form that net/rpc asks for.
type Service struct {
	mutex  sync.Mutex
	closed bool
	units  map[string]*running
}

// StopRequest names a unit to stop.
type StopRequest struct {
	Name     string
	Signal   unix.Signal
	Patience time.Duration
}

// None is no argument and no answer.
type None struct{}

// Start runs a unit, which must not be running.
func (s *Service) Start(unit Unit, _ *None) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return errors.New("the keeper is ending")
	}
	if old := s.units[unit.Name]; old != nil && old.status().Running {
		return fmt.Errorf("unit %q runs already, as process %d", unit.Name, old.id.PID)
	}
	run, err := start(unit)
	if err != nil {
		return err
	}
	s.units[unit.Name] = run
	return nil
}

// Stop ends a unit; one that does not run is no error.
func (s *Service) Stop(request StopRequest, _ *None) error {
	s.mutex.Lock()
	run := s.units[request.Name]
	s.mutex.Unlock()
	if run == nil {
		return nil
	}
	return run.end(request.Signal, request.Patience)
}

// Restart runs a stopped unit again as it was first started.
func (s *Service) Restart(name string, none *None) error {
	s.mutex.Lock()
	run := s.units[name]
	s.mutex.Unlock()
	if run == nil {
		return fmt.Errorf("unit %q was never started", name)
	}
	return s.Start(run.unit, none)
}

// Status reports on every unit that was ever started.
func (s *Service) Status(_ None, answer *map[string]Status) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	*answer = map[string]Status{}
	for name, run := range s.units {
		(*answer)[name] = run.status()
	}
	return nil
}

// stopAll kills: nothing a unit could still write is wanted.
func (s *Service) stopAll() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.closed = true
	var errs []error
	for _, run := range s.units {
		errs = append(errs, run.end(unix.SIGKILL, time.Second))
	}
	return errors.Join(errs...)
}
