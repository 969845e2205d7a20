package status_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// told puts a forecast into lines, with times from now on and the tags of revisions.
func (w *world) told(f *status.Forecast) []string {
	var lines []string
	tag := func(text string) string {
		for runtime, revisions := range w.revisions {
			text = strings.ReplaceAll(strings.ReplaceAll(text, revisions[0], runtime+"-old"), revisions[1], runtime+"-new")
		}
		return text
	}
	for _, b := range f.Begins {
		lines = append(lines, tag(strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", b.At.Sub(now), b.Node, b.Operation, b.Revision, b.Wave))))
	}
	for _, h := range f.Waiting {
		lines = append(lines, tag(fmt.Sprintf("waits %s %s", h.Node, h.Reason)))
	}
	if f.Cut {
		lines = append(lines, "and more")
	}
	return append(lines, f.Refused...)
}

func TestAForecastTellsWhoIsNextAndWhen(t *testing.T) {
	old := func(w *world, runtime string) func(*observed.Node) {
		return func(n *observed.Node) {
			write(n, runtime, &observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: w.revisions[runtime][0], Since: now.Add(-time.Hour), MachineID: "m"})
		}
	}
	for name, c := range map[string]struct {
		over  []string
		make  func(*world)
		limit int
		want  []string
	}{
		"one after the other, each after the soak of the one before": {
			nil, func(w *world) { w.addNode("a", nil); w.addNode("b", old(w, "kata")); w.addNode("c", nil) }, 9,
			[]string{"0s a install kata-new", "1m0s b install kata-new", "2m0s c install kata-new"},
		},
		"a wave first": {
			[]string{"waves", "[{name: canary, nodeSelector: canary, soak: 5m}]", "maxUnavailable", "2"},
			func(w *world) {
				w.addNode("a", nil)
				w.addNode("b", nil)
				w.addNode("c", func(n *observed.Node) { n.Labels = n.Labels.With("canary", "yes") })
			}, 9,
			[]string{"0s c install kata-new canary", "5m0s a install kata-new", "5m0s b install kata-new"},
		},
		"what is under way ends first, and who waits for somebody is told": {
			[]string{"soak", "0s"},
			func(w *world) {
				w.addNode("a", func(n *observed.Node) {
					write(n, "kata", &observed.Progress{Phase: observed.PhaseInstalling, Operation: observed.Install, Step: "install", Revision: w.revisions["kata"][1], Since: now, MachineID: "m", Turn: "t1"})
					w.snap.Turns.Booked = append(w.snap.Turns.Booked, observed.Turn{Node: n.UID, Runtime: "kata", Revision: w.revisions["kata"][1], Operation: observed.Install, ID: "t1"})
				})
				w.addNode("b", func(n *observed.Node) { n.Annotations[observed.HoldKey("kata")] = "disk swap" })
				w.addNode("c", nil)
			}, 9,
			[]string{"0s c install kata-new", "waits b Held"},
		},
		"in the window of a pool": {
			[]string{"soak", "0s"},
			func(w *world) {
				w.addNode("a", nil)
				w.snap.Pools = []observed.Spec{{Name: "blue", Pool: "blue", Data: map[string]string{"nodeSelector": "*", "maintenanceWindow": "{schedule: 0 2 * * 6, duration: 4h}"}}}
			}, 9,
			[]string{"14h0m0s a install kata-new"},
		},
		"no more than asked for": {
			nil, func(w *world) { w.addNode("a", nil); w.addNode("b", nil) }, 1,
			[]string{"0s a install kata-new", "and more"},
		},
		"a spec that is gone": {
			nil, func(w *world) {
				w.addNode("a", old(w, "kata"))
				w.snap.Specs = nil
			}, 9,
			[]string{"1m0s a uninstall kata-old"},
		},
		"a change that has no revision yet": {
			[]string{"soak", "0s"},
			func(w *world) {
				w.addNode("a", old(w, "kata"))
				w.snap.Specs[0].Data["payloadImage"] = "registry.example/kata-newest:1"
			}, 9,
			[]string{"0s a install " + revisionOf(t, data("kata", "kata-newest", "soak", "0s"))},
		},
		"a change that is refused": {
			[]string{"soak", "0s"},
			func(w *world) {
				w.addNode("a", old(w, "kata"))
				w.snap.Specs[0].Data["soak"] = "a while"
			}, 9,
			[]string{"0s a install kata-new", `runtime "kata": data[soak]: Invalid value: "a while": expected a duration of 0s or more, such as 90s, 15m or 1h30m`},
		},
	} {
		w := newWorld()
		w.addRuntime(t, "kata", c.over...)
		c.make(w)
		w.look()
		before := w.text(t)
		if diff := cmp.Diff(c.want, w.told(status.ForecastOf(w.snap, spec.Parse, c.limit))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if after := w.text(t); after != before {
			t.Errorf("%s: the snapshot was changed", name)
		}
	}
}

func revisionOf(t *testing.T, d map[string]string) string {
	t.Helper()
	parsed, errs := spec.Parse("kata", d, nil)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return parsed.Revision()
}

func (w *world) text(t fataler) string {
	text, err := json.Marshal(w.snap)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// From any state on, every forecast comes to an end, nothing is done to a node that is held, and the snapshot stays as it is.
func TestEveryForecastComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld(t)
		_, decision, _ := w.look()
		before := w.text(t)
		f := status.ForecastOf(w.snap, spec.Parse, 1000)
		if f.Cut {
			t.Fatalf("it does not end: %v\n%s", w.told(f), w.describe(decision))
		}
		for _, b := range f.Begins {
			for i := range w.snap.Nodes {
				if s := w.snap.Nodes[i].State(b.Runtime); w.snap.Nodes[i].Name == b.Node && s != nil && s.Held {
					t.Fatalf("something would begin on the held node %s: %v", b.Node, w.told(f))
				}
			}
		}
		if w.text(t) != before {
			t.Fatal("the snapshot was changed")
		}
	})
}
