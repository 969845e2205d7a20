package desired_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// survivor is the mark of the spec kata-1, of so long ago and with a minute of grace.
func survivor(ago time.Duration, inForce bool, people map[string]string) []string {
	since := now.Add(-ago)
	return []string{observed.AnnotationSurvivor, observed.Survivor{UID: "uid-kata-1", Since: since, Due: since.Add(time.Minute), InForce: inForce, People: people}.Text()}
}

// on is a node that is Ready at the revision of a spec.
func on(name string, s observed.Spec) observed.Node {
	parsed, errs := spec.Parse(s.Runtime, s.Data, nil)
	if len(errs) > 0 {
		panic(errs.ToAggregate())
	}
	return node(name, "use", "kata="+parsed.Revision())
}

func dead(n observed.Node) observed.Node {
	n.Ready = false
	return n
}

// TestAnOlderSpecThatIsLeft is the table of survivors: kata-2 was in force and is gone, kata-1 is left.
func TestAnOlderSpecThatIsLeft(t *testing.T) {
	one, two := specOf("kata-1", 40, data("one")), specOf("kata-2", 30, data("two"))
	recent := specOf("kata-2", 9, data("two"))
	broken := specOf("kata-1", 40, data("one", "soak", "long"))
	proven := func(s observed.Spec, marks ...string) observed.Revision {
		return revision(2, s, append(marks, observed.AnnotationProven, "2026-11-20T11:00:00Z")...)
	}
	const (
		plain    = " -nothing-selected -payload -vanished"
		marked   = "prepare mark two as 2 +survivor -vanished"
		back     = "prepare mark one as 3 -nothing-selected -payload +survivor -vanished"
		conflict = `conflict ConfigMap "kata-2", which was in force, is gone, and "kata-1" had been superseded since 2026-11-20T11:30:00Z: ` +
			`nodes stay as they are; to have "kata-1" in force, say: longshore retry kata; else delete it as well`
	)
	old := map[string]string{observed.AnnotationRetry: "old", observed.AnnotationPause: "false"}
	cases := map[string]struct {
		world
		want []string
	}{
		"that the newer one went is written down first": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, recent), revision(1, one)}, nodes: []observed.Node{node("a", "use"), node("b", "kata=x"), node("c")}},
			[]string{"source kata-1", "in force two", marked, "a Keep Survivor", "b Keep Survivor"},
		},
		"then it waits for the grace": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, recent, survivor(40*time.Second, true, nil)...), revision(1, one)}, nodes: []observed.Node{node("b", "use", "kata=x")}},
			[]string{"source kata-1", "in force two", "b Keep Survivor", "again in 20s"},
		},
		"a mark from the future counts for nothing": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, recent, survivor(-time.Hour, true, nil)...)}},
			[]string{"source kata-1", "in force two", marked},
		},
		"a newer one ends the wait": {
			world{specs: []observed.Spec{one, specOf("kata-3", 0, data("two"))}, history: []observed.Revision{revision(2, recent, survivor(time.Second, true, nil)...)}, nodes: []observed.Node{node("a", "use")}},
			[]string{"source kata-3", "superseded kata-1", "in force two", "prepare mark two as 2" + plain, "a Installed Selected"},
		},
		"one of the same second is a rename, whatever its name": {
			world{specs: []observed.Spec{specOf("kata-0", 9, data("two"))}, history: []observed.Revision{revision(2, recent)}},
			[]string{"source kata-0", "in force two", "prepare mark two as 2" + plain},
		},
		"after the grace it comes into force, and until then nothing is given": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, recent, survivor(2*time.Minute, true, nil)...), revision(1, one)}, nodes: []observed.Node{node("a", "use"), node("b", "use", "kata=x")}},
			[]string{"source kata-1", "in force two", back, "a Keep Survivor", "b Keep Survivor"},
		},
		"while it cannot be read nodes stay as they are": {
			world{specs: []observed.Spec{broken}, history: []observed.Revision{revision(2, recent, survivor(2*time.Minute, true, nil)...), revision(1, one)}, nodes: []observed.Node{node("a", "use"), node("b", "use", "kata=x")}},
			[]string{"source kata-1", "error data[soak]", "in force two", "a Keep Survivor", "b Keep Survivor"},
		},
		"if that was decided it is a conflict": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, two, survivor(2*time.Minute, false, nil)...), revision(1, one)}, nodes: []observed.Node{node("a", "use"), node("b", "use", "kata=x")}},
			[]string{"source kata-1", conflict, "in force two", "b Keep Stale"},
		},
		"until people say that it counts": {
			world{
				specs:   []observed.Spec{saying(one, observed.AnnotationRetry, "now")},
				history: []observed.Revision{revision(2, two, survivor(2*time.Minute, false, map[string]string{observed.AnnotationRetry: "old"})...), revision(1, one)},
			},
			[]string{"source kata-1", "in force two", "prepare mark one as 3 -nothing-selected -payload +retry=now +survivor -vanished"},
		},
		"what they said before the newer one went does not count": {
			world{specs: []observed.Spec{saying(one, observed.AnnotationRetry, "old")}, history: []observed.Revision{revision(2, two, survivor(2*time.Minute, false, old)...), revision(1, one)}},
			[]string{"source kata-1", conflict, "in force two"},
		},
		"nor does an old resume end today's pause": {
			world{
				specs:   []observed.Spec{saying(one, observed.AnnotationPause, "false")},
				history: []observed.Revision{revision(2, recent, append(survivor(2*time.Minute, true, old), observed.AnnotationPause, observed.Pause{Reason: "INC-1"}.Text())...), revision(1, one)},
			},
			[]string{"source kata-1", "in force two", `prepare mark one as 3 -nothing-selected +pause={"reason":"INC-1","on":""} -payload +survivor -vanished`},
		},
		"nor later, when it is in force": {
			world{
				specs:   []observed.Spec{saying(one, observed.AnnotationPause, "false")},
				history: []observed.Revision{revision(3, one, append(survivor(time.Hour, true, old), observed.AnnotationPause, observed.Pause{Reason: "INC-1"}.Text())...)},
			},
			[]string{"source kata-1", "in force one"},
		},
		"a pause that is said while it waits is heard": {
			world{specs: []observed.Spec{saying(one, observed.AnnotationPause, "INC-2")}, history: []observed.Revision{revision(2, recent, survivor(10*time.Second, true, nil)...)}},
			[]string{"source kata-1", "in force two", `prepare mark two as 2 +pause={"reason":"INC-2","on":"uid-kata-1"} +survivor -vanished`, "again in 50s"},
		},
		"an old agreement to uninstalls is none, also while the spec is refused": {
			world{
				specs: []observed.Spec{saying(broken, observed.AnnotationUninstallDeselected, "W1")},
				history: []observed.Revision{revision(3, one, append(
					survivor(time.Hour, true, map[string]string{observed.AnnotationUninstallDeselected: "W1"}), observed.AnnotationUninstallDeselected, "W2",
					observed.AnnotationDeselection, observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 3, Time: now}.Text())...)},
				nodes: []observed.Node{node("a", "kata=x"), node("b", "kata=x"), node("c", "kata=x"), node("d", "use", "kata=x")},
			},
			[]string{"source kata-1", "error data[soak]", "in force one", "a Keep MassDeselected", "b Keep MassDeselected", "c Keep MassDeselected", "d Installed Selected"},
		},
		"a newer one that is refused lets the old words be old": {
			world{
				specs:   []observed.Spec{one, specOf("kata-3", 1, data("three", "soak", "long"))},
				history: []observed.Revision{revision(3, one, survivor(time.Hour, true, old)...)},
			},
			[]string{"source kata-3", "superseded kata-1", "error data[soak]", "in force one", "prepare mark one as 3 +survivor -vanished"},
		},
		"and has it decided anew when it goes": {
			world{
				specs: []observed.Spec{one},
				history: []observed.Revision{
					revision(2, recent, observed.AnnotationSurvivor, observed.Survivor{UID: "uid-kata-1", People: old}.Text()), revision(1, one),
				},
			},
			[]string{"source kata-1", "in force two", marked},
		},
		"that its selector leaves a node out is nobody's word": {
			world{
				specs:   []observed.Spec{one},
				history: []observed.Revision{revision(2, specOf("kata-2", 9, data("two", "nodeSelector", "*")), survivor(2*time.Minute, true, nil)...), revision(1, one)},
				nodes:   []observed.Node{node("a", "use", "kata=x"), node("b", "use", "kata=x"), node("c", "kata=x")},
			},
			[]string{
				"source kata-1", "in force two",
				`prepare mark one as 3 +deselection={"halted":"MassDeselection","nodes":1,"time":"2026-11-20T12:00:00Z"} -nothing-selected -payload +survivor -vanished`,
				"a Keep Survivor", "b Keep Survivor", "c Keep Survivor",
			},
		},
		"and when it is in force the node keeps what it has": {
			world{
				specs: []observed.Spec{one},
				history: []observed.Revision{revision(3, one, append(survivor(time.Hour, true, nil),
					observed.AnnotationDeselection, observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 1, Time: now.Add(-time.Hour)}.Text())...)},
				nodes:    []observed.Node{node("a", "use", "kata=x"), node("b", "use", "kata=x"), node("c", "kata=x")},
				mismatch: map[string]time.Duration{"c": time.Hour},
			},
			[]string{"source kata-1", "in force one", "a Installed Selected", "b Installed Selected", "c Keep MassDeselected"},
		},
		"what was given up stays so": {
			world{
				specs: []observed.Spec{one},
				history: []observed.Revision{
					revision(2, recent, survivor(2*time.Minute, true, nil)...), revision(1, one, observed.AnnotationBad, observed.Bad{Reason: "failed"}.Text()),
				},
			},
			[]string{"source kata-1", "in force two", `prepare mark one as 3 +bad={"reason":"failed","time":"0001-01-01T00:00:00Z"} -nothing-selected -payload +survivor -vanished`},
		},
		"when it goes as well, its time does not count for the uninstall": {
			world{history: []observed.Revision{proven(two, survivor(time.Hour, false, nil)...)}, nodes: []observed.Node{node("b", "kata=x")}},
			[]string{"in force two", "prepare mark two as 2 +vanished=2026-11-20T12:00:00Z", "b Keep Vanished"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			got := c.tell(snap, desired.Of(snap, spec.Parse, desired.DefaultOptions()))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
		})
	}
}

// TestWhatBecomesOfASurvivorIsDecidedWhenTheNewerOneGoes holds what is written down.
func TestWhatBecomesOfASurvivorIsDecidedWhenTheNewerOneGoes(t *testing.T) {
	zero, one := specOf("kata-0", 600, data("zero")), specOf("kata-1", 40, data("one"))
	two := specOf("kata-2", 30, data("two"))
	proven := func(number int64, s observed.Spec) observed.Revision {
		return revision(number, s, observed.AnnotationProven, "2026-11-20T11:00:00Z")
	}
	untimed := revision(2, two)
	untimed.Annotations[observed.AnnotationSource] = `{"name":"kata-2","uid":"uid-kata-2"}`
	half := []observed.Node{on("a", two), on("b", one)}
	cases := map[string]struct {
		world
		inForce bool
	}{
		"superseded for a short time":            {world{specs: []observed.Spec{one}, history: []observed.Revision{proven(2, specOf("kata-2", 5, data("two")))}}, true},
		"superseded for long":                    {world{specs: []observed.Spec{one}, history: []observed.Revision{proven(2, two)}}, false},
		"the last of many renames is young":      {world{specs: []observed.Spec{zero}, history: []observed.Revision{proven(3, specOf("kata-2", 5, data("two"))), proven(2, one)}}, false},
		"its successor was made anew":            {world{specs: []observed.Spec{specOf("kata-1", 300, data("one"))}, history: []observed.Revision{proven(2, specOf("kata-2", 5, data("two")))}}, false},
		"one of the same second says otherwise":  {world{specs: []observed.Spec{specOf("kata-1", 30, data("one"))}, history: []observed.Revision{proven(2, two)}}, false},
		"a rollout is half done, on a dead node": {world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, two), proven(1, one)}, nodes: []observed.Node{on("a", two), dead(on("b", one))}}, false},
		"a rollout is half done":                 {world{specs: []observed.Spec{one}, history: []observed.Revision{revision(2, two), proven(1, one)}, nodes: half}, true},
		"it was done once":                       {world{specs: []observed.Spec{one}, history: []observed.Revision{proven(2, two), proven(1, one)}, nodes: half}, false},
		"the other half has another revision":    {world{specs: []observed.Spec{zero}, history: []observed.Revision{revision(2, two), proven(1, one)}, nodes: half}, false},
		"it says what is in force":               {world{specs: []observed.Spec{specOf("kata-1", 40, data("two"))}, history: []observed.Revision{proven(2, two)}, nodes: []observed.Node{on("a", two)}}, true},
		"an early version wrote no time down":    {world{specs: []observed.Spec{specOf("kata-1", 90, data("one"))}, history: []observed.Revision{untimed}}, false},
		"the survivor cannot be read":            {world{specs: []observed.Spec{specOf("kata-1", 40, data("one", "soak", "x"))}, history: []observed.Revision{revision(2, two), proven(1, one)}, nodes: half}, false},
		"deletionGrace of the deleted one holds": {world{specs: []observed.Spec{one}, history: []observed.Revision{proven(2, specOf("kata-2", 30, data("two", "deletionGrace", "2h")))}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			p := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Runtimes[0].Prepare
			if p == nil {
				t.Fatal("nothing is to be written down")
			}
			mark := (&observed.Revision{Annotations: p.Annotations}).Survivor()
			if mark == nil || mark.InForce != c.inForce || mark.UID != c.specs[0].UID || !mark.Since.Equal(now) {
				t.Fatalf("written down is %+v, expected in force: %t", mark, c.inForce)
			}
			grace := time.Minute
			if name == "deletionGrace of the deleted one holds" {
				grace = 2 * time.Hour
			}
			if !mark.Due.Equal(now.Add(grace)) {
				t.Errorf("it is due at %s", mark.Due)
			}
		})
	}
}

// TestADeletedSpecIsHeldWhileASurvivorWaits is for an application that is deleted with its leftovers: nodes must not keep the runtime for it.
func TestADeletedSpecIsHeldWhileASurvivorWaits(t *testing.T) {
	foreground := specOf("kata-2", 9, data("two", "deletionPolicy", "Foreground"))
	one := specOf("kata-1", 40, data("one", "deletionPolicy", "Foreground"))
	w := world{
		specs: []observed.Spec{deleting(held(foreground)), one}, history: []observed.Revision{revision(2, foreground, survivor(10*time.Second, true, nil)...)},
		nodes: []observed.Node{node("a", "use", "kata=x")},
	}
	if got := desired.Of(w.snapshot(), spec.Parse, desired.DefaultOptions()).Runtimes[0].Finalize; len(got) != 0 {
		t.Errorf("finalizers change: %+v", got)
	}
}
