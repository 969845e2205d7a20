package faulttests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// people are what people do to a spec while the command runs. An operation that has begun is finished; then the node turns to what is asked for now.
var people = map[string][]step{
	"edited": {
		{do: apply("1"), strike: apply("3"), ran: "install 1, install 3", version: "3"},
		{do: apply("2"), strike: apply("4"), ran: "install 2, install 4", version: "4"},
		{do: remove, strike: apply("5"), ran: "uninstall 4, install 5", version: "5"},
		{do: remove, ran: "uninstall 5"},
	},
	"edited-back": {
		{do: apply("1"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: apply("1"), ran: "install 2, install 1", version: "1"},
		{do: remove, ran: "uninstall 1"},
	},
	"deleted": {
		{do: apply("1"), strike: remove, ran: "install 1, uninstall 1"},
		{do: apply("1"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: remove, ran: "install 2, uninstall 2"},
	},
	"recreated": {
		{do: apply("1"), strike: recreate("1"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: recreate("2"), ran: "install 2", version: "2"},
		{do: remove, strike: apply("2"), ran: "uninstall 2, install 2", version: "2"},
		{do: remove, strike: func(y *story) { apply("3")(y); remove(y) }, ran: "uninstall 2"},
	},
	"renamed-first": {
		{do: apply("1"), strike: createThenPrune("1", "renamed-first-1"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: createThenPrune("2", "renamed-first-2"), ran: "install 2", version: "2"},
		{do: createThenPrune("3", "renamed-first-3"), ran: "install 3", version: "3"},
		{do: remove, ran: "uninstall 3"},
	},
	"renamed-last": {
		{do: apply("1"), strike: pruneThenCreate("1", "renamed-last-1"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: pruneThenCreate("2", "renamed-last-2"), ran: "install 2", version: "2"},
		{do: pruneThenCreate("3", "renamed-last-3"), ran: "install 3", version: "3"},
		{do: remove, strike: func(y *story) { y.spec = "renamed-last-4"; apply("3")(y) }, ran: "uninstall 3, install 3", version: "3"},
		{do: remove, ran: "uninstall 3"},
	},
	"invalid": {
		{do: apply("1"), strike: spoil("maxUnavailable", "none", "Invalid"), after: stays("1", "Invalid"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: spoil("nodeSelector", "a in b", "Invalid"), after: stays("2", "Invalid"), ran: "install 2", version: "2"},
		{do: remove, strike: func(y *story) { apply("2")(y); spoil("installCmd", "{", "Invalid")(y) }, after: mended("3"), ran: "uninstall 2, (install 2, )?install 3", version: "3"},
		{do: remove, ran: "uninstall 3"},
	},
	// Nothing is taken off a node because of a selector that selects nothing.
	"typo": {
		{do: apply("1"), strike: spoil("nodeSelector", "nobody=here", "Halted"), after: stays("1", "Halted"), ran: "install 1", version: "1"},
		{do: apply("2"), strike: spoil("nodeSelector", "nobody=here", "Halted"), after: stays("2", "Halted"), ran: "install 2", version: "2"},
		{do: remove, ran: "uninstall 2"},
	},
	"paused": {
		{do: apply("1"), strike: spoil("paused", "true", "Paused"), after: stays("1", "Ready", "Paused"), ran: "install 1", version: "1"},
		{do: remove, ran: "uninstall 1"},
	},
}

// early are things that people do to a spec when a node is about to be opened, or is still watched. A command that has not begun does not begin any more
// when it is not wanted; rarely it begins just then, and is undone. It may even be killed before it has written its line into the log.
var early = map[string][]step{
	"early-edited": {
		{do: apply("1"), when: atGate, strike: apply("3"), ran: "(install 1, )?install 3", version: "3"},
		{do: watched("4"), when: inSoak, strike: apply("5"), ran: "install 4, install 5", version: "5"},
		{do: remove, when: atGate, strike: apply("5"), ran: "((uninstall 5, )?install 5)?", version: "5"},
		{do: remove, ran: "uninstall 5"},
	},
	"early-deleted": {
		{do: apply("1"), when: atGate, strike: remove, ran: "((install 1, )?uninstall 1)?"},
		{do: watched("1"), when: inSoak, strike: remove, ran: "install 1, uninstall 1"},
	},
	"early-recreated": {
		{do: apply("1"), when: atGate, strike: recreate("1"), ran: "install 1", version: "1"},
		{do: watched("2"), when: inSoak, strike: recreate("2"), ran: "install 2", version: "2"},
		{do: remove, ran: "uninstall 2"},
	},
	"early-typo": {
		{do: apply("1"), when: atGate, strike: mistype, after: both(noticed, mended("1")), ran: "install 1(, install 1)?", version: "1"},
		{do: watched("2"), when: inSoak, strike: both(mistype, noticed), after: stays("2", "Halted"), ran: "install 2", version: "2"},
		{do: remove, ran: "uninstall 2"},
	},
}

// watched is an apply of a spec with a soak.
func watched(version string) func(*story) {
	return func(y *story) {
		y.soak = "15s"
		apply(version)(y)
	}
}

// mistype has the spec select nothing, and waits for nobody.
func mistype(y *story) {
	patch := `--patch={"data":{"nodeSelector":"nobody=here"}}`
	y.kubectl("--namespace=longshore", "patch", "configmap", y.specName(), "--type=merge", "--field-manager=test", patch)
}

// noticed waits until the spec says something about its data as it is now.
func noticed(y *story) {
	y.t.Helper()
	y.wait(y.t.Context(), "the edit is noticed", func(ctx context.Context) (bool, string) {
		said := y.status(ctx, y.specName())
		return said.phase == "Halted" || said.phase == "Ready", fmt.Sprintf("%+v", said)
	})
}

func recreate(version string) func(*story) {
	return func(y *story) { remove(y); apply(version)(y) }
}

// createThenPrune renames the spec as Flux does, pruneThenCreate as Argo CD does.
func createThenPrune(version, name string) func(*story) {
	return func(y *story) {
		old := y.specName()
		y.spec = name
		apply(version)(y)
		y.remove(old)
	}
}

func pruneThenCreate(version, name string) func(*story) {
	return func(y *story) {
		remove(y)
		y.spec = name
		apply(version)(y)
	}
}

// spoil sets one key to something that does not do, and waits until the spec says so.
func spoil(key, value, phase string) func(*story) {
	return func(y *story) {
		y.t.Helper()
		patch := fmt.Sprintf(`--patch={"data":{%q:%q}}`, key, value)
		y.kubectl("--namespace=longshore", "patch", "configmap", y.specName(), "--type=merge", "--field-manager=test", patch)
		y.says(y.specName(), phase)
	}
}

// stays waits until the node is Ready at what was asked for last, while the spec still says one of the phases; then it mends the spec.
func stays(version string, phases ...string) func(*story) {
	return func(y *story) {
		y.t.Helper()
		st := y.shows(y.nodes[0], y.runtime, "Ready")
		if said := y.status(y.t.Context(), y.specName()); !strings.Contains(strings.Join(phases, " "), said.phase) || st.ready != "true" {
			y.t.Errorf("the node shows %+v and the spec says %+v, expected it to be Ready while the spec is one of %q", st, said, phases)
		}
		mended(version)(y)
	}
}

// mended takes what was spoilt back.
func mended(version string) func(*story) {
	return func(y *story) {
		y.t.Helper()
		// What is not in the manifest, an apply leaves to whoever wrote it.
		y.kubectl("--namespace=longshore", "patch", "configmap", y.specName(), "--type=merge", `--patch={"data":{"paused":null,"maxUnavailable":null}}`)
		apply(version)(y)
	}
}

// TestOfTwoRuntimesThatWantTheSameTheOlderOneHasIt has three runtimes want one RuntimeClass and one handler, in the middle of an install.
func TestOfTwoRuntimesThatWantTheSameTheOlderOneHasIt(t *testing.T) {
	s := start(t)
	image := s.payload("same:1", "")
	older := &story{suite: s, image: image, runtime: "older", nodes: []string{nodeB}}
	spec := func(name, class, handler string) string {
		return manifest(name, name, map[string]string{
			"payloadImage": image, "nodeSelector": on(nodeB), "runtimeClasses": fmt.Sprintf("[{name: %s, handler: %q}]", class, handler),
		})
	}
	s.run()
	older.hang()
	older.do(0)
	older.begun(1)
	s.apply(spec("same-class", "older", "other"))
	s.apply(spec("same-handler", "another", "runc"))
	for name, words := range map[string]string{
		"same-class": `RuntimeClass "older" belongs to runtime "older"`, "same-handler": `handler "runc" belongs to runtime "older"`,
	} {
		if said := s.says(name, "Conflict"); !strings.Contains(said.message, words) {
			t.Errorf("spec %s says %q, expected in it %q", name, said.message, words)
		}
	}
	older.release()
	older.installed("1")
	for _, name := range []string{"same-class", "same-handler"} {
		if runs := s.runs(nodeB, name); runs != "" {
			t.Errorf("%s ran %q in spite of its conflict", name, runs)
		}
	}
	s.remove("same-class")
	s.remove("older")
	s.goneOf(t.Context(), "older")
	older.ran("install 1", "uninstall 1")
	s.ready("same-handler", 1)
	s.ranOn(nodeB, "same-handler", "install 1")
	if class, err := s.kube.NodeV1().RuntimeClasses().Get(t.Context(), "another", metav1.GetOptions{}); err != nil || class.Handler != "runc" {
		t.Errorf("RuntimeClass of the runtime that waited: %v, %v; expected handler runc", class, err)
	}
}

// TestTwoRuntimesAtOnceOnTheSameNodesNeverMeetOnOne has both installed, upgraded and uninstalled at the same time with room for every node in each budget.
func TestTwoRuntimesAtOnceOnTheSameNodesNeverMeetOnOne(t *testing.T) {
	s := start(t)
	image := s.payload("two:1", "")
	nodes := []string{nodeB, nodeC}
	var stories []*story
	for name, handler := range map[string]string{"two-a": "runc", "two-b": "two-b"} {
		stories = append(stories, &story{suite: s, image: image, runtime: name, handler: handler, nodes: nodes})
	}
	s.handlers(map[string]string{nodeB: "two-b", nodeC: "two-b"})
	s.run()
	within := s.oneAtATime()
	for n := range operations {
		for _, y := range stories {
			y.do(n)
		}
		for _, y := range stories {
			y.wait(t.Context(), y.runtime+": "+operations[n], func(context.Context) (bool, string) {
				runs := y.runs(nodeB, y.runtime) + y.runs(nodeC, y.runtime)
				return strings.Count(runs, operations[n]) == len(nodes), runs
			})
		}
		for _, y := range stories {
			if n < len(operations)-1 {
				y.installed(fmt.Sprint(n + 1))
			}
		}
	}
	s.gone(t.Context())
	within()
	for _, y := range stories {
		for _, name := range nodes {
			if got, want := y.runs(name, y.runtime), strings.Join(operations, "\n"); got != want {
				t.Errorf("%s ran %q on node %s, expected %q", y.runtime, got, name, want)
			}
		}
	}
}

// oneAtATime watches all nodes, and returns a function that ends that and fails the test if any node had the gates of two runtimes at once, or none ever.
func (s *suite) oneAtATime() func() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	w, err := s.kube.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	worst, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for event := range w.ResultChan() {
			node, ok := event.Object.(*corev1.Node)
			if !ok {
				continue
			}
			gates := 0
			for key := range node.Labels {
				if strings.HasSuffix(key, ".longshore.dev/gate") {
					gates++
				}
			}
			worst = max(worst, gates)
		}
	}()
	return func() {
		s.t.Helper()
		w.Stop()
		cancel()
		<-ended
		if worst != 1 {
			s.t.Errorf("a node had %d gates at the same time, expected never more than 1", worst)
		}
	}
}
