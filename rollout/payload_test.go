package rollout_test

import (
	"slices"
	"strings"
	"testing"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

func decide(w *world) *rollout.Decision {
	return rollout.Decide(w.snap, desired.Of(w.snap, spec.Parse, desired.DefaultOptions()))
}

// TestAPullThatIsRefusedSaysWhatItWouldHaveNeeded holds it while the node waits, and when it fails.
func TestAPullThatIsRefusedSaysWhatItWouldHaveNeeded(t *testing.T) {
	const refused = `Back-off pulling image: 401 Unauthorized`
	const want = `step install has not started: there is no Secret "payload-secret" in namespace "longshore", and the spec's imagePullSecrets did not do: ImagePullBackOff: ` + refused
	for since, told := range map[string]string{"2m": want, "16m": "not done after 15m0s: " + want} {
		w := newWorld(t, scenario{world: `a  kata  Installing  new  since ` + since + `  pod pulling`})
		w.snap.Namespace, w.snap.PayloadSecret = "longshore", &observed.PayloadSecret{}
		step := &w.snap.Pods[0].Steps[0]
		step.Image, step.WaitingMessage = "registry.example.com/team/payload:1", refused
		decision := decide(w)
		got := ""
		switch {
		case len(decision.Holds) == 1:
			got = decision.Holds[0].Message
		case len(decision.Moves) == 1 && decision.Moves[0].Kind == rollout.Fail:
			got = decision.Moves[0].After.Message
		}
		if got != told {
			t.Errorf("after %s the node says\n%s\nexpected\n%s", since, got, told)
		}
	}
}

func TestAnInstallerThatIsRefusedThePayloadSaysWhatItWouldHaveNeeded(t *testing.T) {
	w := newWorld(t, scenario{world: `a  kata  Installing  new  since 1m  pod failed:1:1`})
	w.snap.Namespace, w.snap.PayloadSecret = "longshore", &observed.PayloadSecret{}
	w.snap.Pods[0].Steps[0].Exit.Message = "UNAUTHORIZED: authentication required"
	for i := range w.snap.Revisions {
		w.snap.Revisions[i].Content.Hashed = map[string]any{"payloadImage": "registry.example.com/team/payload:1", "installerImage": "registry.example.com/team/installer:1"}
	}
	const want = `step install exited 1: UNAUTHORIZED: authentication required; there is no Secret "payload-secret" in namespace "longshore"`
	if decision := decide(w); len(decision.Moves) != 1 || decision.Moves[0].After.Message != want {
		t.Errorf("moves %+v, expected %s", decision.Moves, want)
	}
}

// TestANodeIsTaintedFromTheGateOfAReplacedPayloadToTheResultOfAnother follows one node by the payload that it has, or may have.
func TestANodeIsTaintedFromTheGateOfAReplacedPayloadToTheResultOfAnother(t *testing.T) {
	for name, c := range map[string]struct {
		replaced, world string
		kind            rollout.MoveKind
		tainted         bool
	}{
		"its gate opens":           {"new", `a  kata  -  -  booked new/install`, rollout.OpenGate, true},
		"it is Ready":              {"new", `a  kata  Installing  new  since 2m  pod done  handlers kata`, rollout.Succeed, true},
		"it failed":                {"new", `a  kata  Installing  new  since 16m  pod running`, rollout.Fail, true},
		"the gate of another":      {"old", `a  kata  Ready  old  since 1h  booked new/install  handlers kata`, rollout.OpenGate, true},
		"another is Ready":         {"old", `a  kata  Installing  new  previous old  since 2m  pod done  handlers kata`, rollout.Succeed, false},
		"another failed before it": {"old", `a  kata  Installing  new  previous old  since 16m  pod running`, rollout.Fail, true},
		"never was there":          {"", `a  kata  Installing  new  since 2m  pod done  handlers kata`, rollout.Succeed, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, scenario{world: c.world})
			for i := range w.snap.Revisions {
				if rev := &w.snap.Revisions[i]; c.replaced != "" && strings.HasSuffix(rev.Name, w.hash["kata/"+c.replaced]) {
					rev.Content.Hashed = map[string]any{"payloadImage": "try", "overridden": true}
				}
			}
			decision := decide(w)
			i := slices.IndexFunc(decision.Moves, func(m rollout.Move) bool { return m.Kind == c.kind })
			if i < 0 || decision.Moves[i].After.Tainted != c.tainted {
				t.Errorf("moves %+v, expected %s with tainted %v", decision.Moves, c.kind, c.tainted)
			}
		})
	}
}
