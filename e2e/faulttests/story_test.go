package faulttests

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// story is the life of a runtime on some nodes: an install, an upgrade and an uninstall.
type story struct {
	*suite
	image, runtime string
	nodes          []string
	// spec is the name of the ConfigMap, the runtime's where it is empty.
	spec string
	// handler is runc where it is empty.
	handler string
	// selector selects the nodes, by name where it is empty.
	selector string
	// soak is 0s where it is empty.
	soak string
	// said is how much containerd had written into its log on the first node before its disk was filled.
	said int
}

func (y *story) specName() string { return cmp.Or(y.spec, y.runtime) }

// each is the story on each of its nodes alone.
func (y *story) each() []*story {
	var all []*story
	for _, name := range y.nodes {
		alone := *y
		alone.nodes = []string{name}
		all = append(all, &alone)
	}
	return all
}

// operations are the three with the number of the version that they are about.
var operations = []string{"install 1", "install 2", "uninstall 2"}

// do has people ask for the nth operation.
func (y *story) do(n int) {
	y.t.Helper()
	if n == len(operations)-1 {
		y.remove(y.runtime)
		return
	}
	y.apply(y.manifest(fmt.Sprint(n + 1)))
}

// done waits for the end of the nth operation, and asserts the final state and that every command so far ran once.
func (y *story) done(n int) {
	y.t.Helper()
	if n == len(operations)-1 {
		y.gone(y.t.Context())
	} else {
		y.installed(fmt.Sprint(n + 1))
		for _, name := range y.nodes {
			if st := y.standing(y.t.Context(), name, y.runtime); st.Attempt != 1 {
				y.t.Errorf("node %s shows %+v, expected Ready at the first attempt", name, st)
			}
		}
	}
	y.ran(operations[:n+1]...)
}

// ran asserts what the command ran on every node since the story began.
func (y *story) ran(expected ...string) {
	y.t.Helper()
	for _, name := range y.nodes {
		y.ranOn(name, y.runtime, expected...)
	}
}

// ranOn asserts what the command of a runtime ran on a node.
func (s *suite) ranOn(name, runtime string, expected ...string) {
	s.t.Helper()
	if got := s.runs(name, runtime); got != strings.Join(expected, "\n") {
		s.t.Errorf("on node %s the command of %s ran %q, expected %q", name, runtime, strings.Split(got, "\n"), expected)
	}
}

func (y *story) manifest(version string) string {
	return manifest(y.specName(), y.runtime, map[string]string{
		"payloadImage": y.image, "nodeSelector": cmp.Or(y.selector, on(y.nodes...)), "soak": cmp.Or(y.soak, "0s"),
		"environmentVariables": fmt.Sprintf("[{name: VERSION, value: %q}]", version),
		"runtimeClasses":       fmt.Sprintf("[{name: %s, handler: %s, overhead: {memory: %sMi}}]", y.runtime, cmp.Or(y.handler, "runc"), version),
	})
}

// installed asserts the final state of an install or an upgrade.
func (y *story) installed(version string) {
	y.t.Helper()
	revision := y.readyAs(y.specName(), y.runtime, len(y.nodes))
	for _, name := range y.nodes {
		st := y.standing(y.t.Context(), name, y.runtime)
		if st.Phase != "Ready" || st.phase != "Ready" || st.ready != "true" || st.gate != "" || st.Revision != revision {
			y.t.Errorf("node %s shows %+v, expected Ready at %s", name, st, revision)
		}
	}
	y.wait(y.t.Context(), "the RuntimeClass is that of version "+version, func(ctx context.Context) (bool, string) {
		class, err := y.kube.NodeV1().RuntimeClasses().Get(ctx, y.runtime, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		only := class.Scheduling != nil && maps.Equal(class.Scheduling.NodeSelector, map[string]string{y.runtime + ".longshore.dev/ready": "true"})
		return only && class.Handler == cmp.Or(y.handler, "runc") && class.Labels["longshore.dev/runtime-of"] == y.runtime && class.Overhead.PodFixed.Memory().String() == version+"Mi", class.String()
	})
}

// budget watches all nodes, and returns a function that ends that and fails the test unless exactly one of them at a time
// had a gate.
func (s *suite) budget(runtime string) func() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := s.kube.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		s.t.Fatal(err)
	}
	worst := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		gated := map[string]bool{}
		for event := range w.ResultChan() {
			object, ok := event.Object.(metav1.Object)
			if !ok {
				continue
			}
			delete(gated, object.GetName())
			if event.Type != watch.Deleted && object.GetLabels()[runtime+".longshore.dev/gate"] != "" {
				gated[object.GetName()] = true
			}
			worst = max(worst, len(gated))
		}
	})
	return func() {
		s.t.Helper()
		w.Stop()
		cancel()
		wg.Wait()
		if worst != 1 {
			s.t.Errorf("%d nodes had a gate of %s at the same time, expected never more than 1", worst, runtime)
		}
	}
}
