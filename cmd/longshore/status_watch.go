package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/term"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
)

// settle is how long a burst of changes may go on before it is shown, and tick is how often ages are counted on.
const (
	settle = 100 * time.Millisecond
	tick   = time.Second
)

// display shows what a cluster looks like, again and again.
type display interface {
	show(*view, wanted) error
	end()
}

// watch follows a cluster until the context ends. The cluster is never asked: its own watches say when something is not as it was.
func (o *statusOptions) watch(ctx context.Context, args []string, env *environment) error {
	troubles := &troubles{}
	kube, err := o.client(ctx, troubles.watch)
	if err != nil {
		return err
	}
	defer troubles.listen()()
	changed := make(chan struct{}, 1)
	look := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return o.observe(ctx, kube, look, func(ctx context.Context, cluster *informers.Cluster) error {
		w := &watcher{eyes: cluster, changed: changed, display: displayOn(env, troubles)}
		return w.run(ctx, args)
	})
}

// displayOn is a screen where the output is a terminal that obeys, and lines everywhere else.
func displayOn(env *environment, troubles *troubles) display {
	file, ok := env.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || env.lookup("TERM") == "dumb" {
		return &lines{out: env.stdout, troubles: troubles}
	}
	size := func() (width, height int) {
		width, height, err := term.GetSize(int(file.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	return &screen{out: env.stdout, size: size, plain: env.lookup("NO_COLOR") != "", troubles: troubles}
}

// eyes see a cluster.
type eyes interface {
	Snapshot(now time.Time) *observed.Snapshot
}

// watcher shows a cluster whenever it changed, and every second, for the ages.
type watcher struct {
	eyes    eyes
	changed <-chan struct{}
	display display
}

func (w *watcher) run(ctx context.Context, args []string) error {
	v := lookAt(w.eyes.Snapshot(time.Now()))
	wanted, err := v.choose(args)
	if err != nil {
		return err
	}
	defer w.display.end()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := w.display.show(v, wanted); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-w.changed:
			if !waited(ctx, settle) {
				return nil
			}
		}
		v = lookAt(w.eyes.Snapshot(time.Now()))
	}
}

// waited lets time pass, and tells whether the context still goes on.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
