// Command groups answers: what passed, what failed, and how long did it take?
//
// It runs make targets one after the other, each a group of tests, goes on when one fails, and ends with a table of time by group and
// one line of counts. It exits with 1 if any group failed or ran out of time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

// run is main with its exit code: 0 all passed, 1 some did not, 2 the command line is wrong.
func run(ctx context.Context, args []string, out io.Writer) int {
	flags := flag.NewFlagSet("groups", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", ".", "directory of the Makefile")
	limit := flags.Duration("limit", 24*time.Hour, "time for all groups together; those that it leaves no time for are not run")
	flags.Usage = func() {
		fmt.Fprintln(out, "usage: groups [-dir DIR] [-limit TIME] TARGET=LIMIT…   for example check=10m e2e=30m")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	groups, err := parse(flags.Args())
	if err != nil {
		fmt.Fprintln(out, "groups:", err)
		return 2
	}
	r := runner{out: out, command: func(target string) *exec.Cmd {
		cmd := exec.Command("make", "--no-print-directory", target)
		cmd.Dir, cmd.Stdout, cmd.Stderr = *dir, os.Stdout, os.Stderr
		return cmd
	}}
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("the %w of all groups, %s, is used up", errLimit, *limit))
	defer cancel()
	results := r.all(ctx, groups)
	if err := table(out, results); err != nil {
		return 1
	}
	for i := range results {
		if !results[i].passed() {
			return 1
		}
	}
	return 0
}

// group is a make target and the time it may take.
type group struct {
	target string
	limit  time.Duration
}

func parse(args []string) ([]group, error) {
	if len(args) == 0 {
		return nil, errors.New("no group given")
	}
	groups := make([]group, 0, len(args))
	for _, arg := range args {
		target, text, ok := strings.Cut(arg, "=")
		limit, err := time.ParseDuration(text)
		if !ok || target == "" || err != nil || limit <= 0 {
			return nil, fmt.Errorf("%q: expected TARGET=LIMIT, for example check=10m", arg)
		}
		groups = append(groups, group{target: target, limit: limit})
	}
	return groups, nil
}

// result is how a group went. A group that was not started has no time.
type result struct {
	group
	took    time.Duration
	started bool
	err     error
}

func (r *result) passed() bool { return r.started && r.err == nil }

func (r *result) verdict() string {
	switch {
	case !r.started:
		return "not run"
	case r.err != nil:
		return "FAILED: " + r.err.Error()
	}
	return "passed"
}

// runner runs groups. command makes the process of a target; its output goes where it says.
type runner struct {
	out     io.Writer
	command func(target string) *exec.Cmd
}

// all runs every group, whatever became of those before it, until somebody interrupts.
func (r *runner) all(ctx context.Context, groups []group) []result {
	results := make([]result, 0, len(groups))
	for _, g := range groups {
		res := result{group: g}
		if ctx.Err() == nil {
			fmt.Fprintf(r.out, "\n=== %s\n", g.target)
			start := time.Now()
			res.err = r.one(ctx, g)
			res.took, res.started = time.Since(start), true
			fmt.Fprintf(r.out, "=== %s %s in %s\n", g.target, res.verdict(), res.took.Round(100*time.Millisecond))
		}
		results = append(results, res)
	}
	return results
}

// patience is how long a group may take to clean up after it was asked to end, before it is killed.
const patience = 90 * time.Second

// errLimit is why a group that took too long was ended.
var errLimit = errors.New("time limit")

// one runs a group in a process group of its own, so that the end reaches everything that it started.
func (r *runner) one(ctx context.Context, g group) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.limit, fmt.Errorf("the %w of the group, %s, is used up", errLimit, g.limit))
	defer cancel()
	cmd := r.command(g.target)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = cmd.Wait()
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-ended:
	case <-time.After(patience):
	}
	// What it started in the background may have ignored the first signal.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-ended
	return context.Cause(ctx)
}

// table prints time by group, and a last line of counts in a form that machines read.
func table(out io.Writer, results []result) error {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "GROUP\tTIME\tRESULT")
	var passed, failed, skipped int
	var total time.Duration
	for i := range results {
		r := &results[i]
		total += r.took
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.target, r.took.Round(time.Second), r.verdict())
		switch {
		case !r.started:
			skipped++
		case r.err != nil:
			failed++
		default:
			passed++
		}
	}
	fmt.Fprintf(w, "total\t%s\t\n", total.Round(time.Second))
	if err := w.Flush(); err != nil {
		return err
	}
	counts := fmt.Sprintf("%d passed, %d failed", passed, failed)
	if skipped > 0 {
		counts += fmt.Sprintf(", %d skipped", skipped)
	}
	_, err := fmt.Fprintf(out, "\ngroups: %s\n", counts)
	return err
}
