package controller

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// errPanic is what a panic becomes: it is logged with its stack, and everything that it does not concern goes on.
var errPanic = errors.New("internal error")

// guarded runs what concerns one runtime, or everything where that is "". A panic there comes back as an error, and is shown on that runtime.
func (c *Controller) guarded(runtime, stage string, do func() error) (err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = c.panicked(runtime, stage, fmt.Sprint(failed), string(debug.Stack()))
		}
	}()
	return do()
}

// panicked logs a panic and remembers it for what is shown after this pass.
func (c *Controller) panicked(runtime, stage, what, stack string) error {
	c.Metrics.panicked(runtime)
	c.mu.Lock()
	if c.panics == nil {
		c.panics = map[string]string{}
	}
	c.panics[runtime] = what
	c.mu.Unlock()
	// In development this ends the program: no test goes on after a panic that it did not ask for.
	c.Log.DPanic("internal error; please report it with the stack", zap.String("runtime", runtime), zap.String("stage", stage), zap.String("panic", what), zap.String("stack", stack))
	return fmt.Errorf("%w: runtime %q: %s: %s", errPanic, runtime, stage, what)
}

// leftAlone logs which runtimes nothing was decided for, because the code failed that looked at them.
func (c *Controller) leftAlone(panics []rollout.Panic) {
	for _, p := range panics {
		what, stack, _ := strings.Cut(p.Text, "\n")
		_ = c.panicked(p.Runtime, "decide", what, stack)
	}
}

// showPanics has the runtimes say so whose writes, or whose status, failed in this pass, and tells people once.
func (c *Controller) showPanics(plan *desired.Plan, report *status.Report) {
	for i := range report.Runtimes {
		if r := &report.Runtimes[i]; r.Panic != "" {
			what, stack, _ := strings.Cut(r.Panic, "\n")
			_ = c.panicked(r.Name, "report", what, stack)
		}
	}
	c.mu.Lock()
	panics := c.panics
	c.panics = nil
	c.mu.Unlock()
	for runtime := range c.shownPanics {
		if _, still := panics[runtime]; !still {
			delete(c.shownPanics, runtime)
		}
	}
	for runtime, what := range panics {
		report.Fail(runtime, what)
		if r := runtimeOf(plan, runtime); r != nil && r.Source != nil && c.shownPanics[runtime] != what {
			c.Events.Spec(r.Source, corev1.EventTypeWarning, "InternalError", status.PanicWords(what))
		}
		if c.shownPanics == nil {
			c.shownPanics = map[string]string{}
		}
		c.shownPanics[runtime] = what
	}
}
