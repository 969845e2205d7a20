package faulttests

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/faults"
)

// step is one thing that people ask for, with something that happens in the middle of it.
type step struct {
	do func(*story)
	// strike is nil where nothing happens. Things go on when it returns.
	strike func(*story)
	// when is the time of the strike.
	when middle
	// after waits for what can be seen only now, and mends what the strike left behind.
	after func(*story)
	// ran is what the step adds to the log of commands on the node: a regular expression over its lines, joined by ", ".
	ran string
	// version is what stands on the node in the end, "" for nothing at all.
	version string
}

// middle is a time in the middle of an operation.
type middle int

const (
	// whileRunning is while the command runs on the node; it waits for that.
	whileRunning middle = iota
	// atGate is when the controller has sent what opens the node, and the API server does not know yet.
	atGate
	// inSoak is when the node is Ready and watched.
	inSoak
)

// apply and remove are what people ask for.
func apply(version string) func(*story) { return func(y *story) { y.apply(y.manifest(version)) } }

func remove(y *story) { y.remove(y.specName()) }

// middles are all stories of things that happen in the middle, by the name of the runtime.
func middles() map[string][]step {
	all := map[string][]step{}
	for _, table := range []map[string][]step{people, early, hands, machines} {
		for name, steps := range table {
			if all[name] != nil {
				panic("two stories of the name " + name)
			}
			if steps[len(steps)-1].version != "" {
				panic("the next story of a node would meet what is left of " + name)
			}
			all[name] = steps
		}
	}
	return all
}

// TestWhateverHappensInTheMiddleOfAnOperation goes through all of them, each on a node that it has for itself, as many at a time as there are nodes.
// One controller serves them all.
func TestWhateverHappensInTheMiddleOfAnOperation(t *testing.T) {
	s := start(t)
	stories := middles()
	image := s.payload("middle:1", "")
	full := s.payload("middle-full:1", "dd if=/dev/zero of=$home/data-$VERSION bs=65536 count=16\n")
	names := []string{nodeB, nodeC, "node-d", "node-e", "node-f", "node-g", "node-h"}
	added := []cluster.NodeOptions{{Name: smallNode, Disk: smallDisk}}
	for _, name := range names[2:] {
		added = append(added, cluster.NodeOptions{Name: name})
	}
	s.extra(added...)
	// A handler belongs to one runtime, so that each node has one of its own.
	handlers := map[string]string{smallNode: smallNode}
	for _, name := range names {
		handlers[name] = name
	}
	s.handlers(handlers)
	s.run()
	tell := func(name, image, node string) (clean bool) {
		clean = true
		t.Run(name, func(t *testing.T) {
			own := *s
			own.t = t
			y := &story{suite: &own, image: image, runtime: name, handler: node, nodes: []string{node}}
			t.Cleanup(func() { clean = y.tidy() })
			y.through(stories[name])
		})
		return clean
	}
	queue := longestFirst(stories)
	var wg sync.WaitGroup
	wg.Go(func() { tell(fullDisk, full, smallNode) })
	for _, node := range names {
		wg.Go(func() {
			for name := range queue {
				if !tell(name, image, node) {
					return
				}
			}
		})
	}
	wg.Wait()
	for name := range queue {
		t.Errorf("no clean node was left for %s", name)
	}
}

// longestFirst are the names of the stories that any node will do for, with those first that wait for minutes whatever the machine.
func longestFirst(stories map[string][]step) <-chan string {
	names := []string{"kubelet-stopped", "registered-again", "rebooted"}
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		if name != fullDisk && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	queue := make(chan string, len(names))
	defer close(queue)
	for _, name := range names {
		queue <- name
	}
	return queue
}

// tidy takes away what a story that failed left on its node, and tells whether nothing is there any more.
func (y *story) tidy() bool {
	if !y.t.Failed() {
		return true
	}
	y.report()
	ctx, cancel := within()
	defer cancel()
	y.healNode(ctx, y.nodes[0], y.runtime)
	err := y.prune(ctx, y.runtime)
	if err == nil {
		err = until(ctx, "nothing is left", y.nothing(y.runtime))
	}
	if err != nil {
		y.t.Errorf("node %s is of no use to any other story: %v", y.nodes[0], err)
	}
	return err == nil
}

// extra adds real nodes for the time of the test.
func (s *suite) extra(all ...cluster.NodeOptions) {
	s.t.Helper()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, opts := range all {
		s.t.Cleanup(func() {
			ctx, cancel := within()
			defer cancel()
			if err := s.c.RemoveNode(ctx, opts.Name); err != nil && !strings.Contains(err.Error(), "no real node") {
				s.t.Error(err)
			}
		})
		wg.Go(func() { _, errs[i] = s.c.AddNode(s.t.Context(), opts) })
	}
	wg.Wait()
	// What goes wrong on these nodes is to be seen as long as they are there.
	s.t.Cleanup(s.report)
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

// handlers gives the containerd of each node one more handler, by the name of the node.
func (s *suite) handlers(handlers map[string]string) {
	s.t.Helper()
	const file = "/etc/containerd/conf.d/faults.toml"
	for name, handler := range handlers {
		text := fmt.Sprintf("version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.%s]\n  runtime_type = 'io.containerd.runc.v2'\n", handler)
		if out, err := s.sh(s.t.Context(), name, fmt.Sprintf("cat > %s <<'END'\n%sEND\nsystemctl restart containerd", file, text)); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
		if !slices.Contains([]string{nodeA, nodeB, nodeC}, name) {
			// It goes with the test.
			continue
		}
		s.t.Cleanup(func() {
			ctx, cancel := within()
			defer cancel()
			if out, err := s.sh(ctx, name, "rm -f "+file+" && systemctl restart containerd"); err != nil {
				s.t.Errorf("%v: %s", err, out)
			}
		})
	}
	for name, handler := range handlers {
		s.wait(s.t.Context(), "node "+name+" reports handler "+handler, func(ctx context.Context) (bool, string) {
			reported := s.node(ctx, name).Status.RuntimeHandlers
			return slices.ContainsFunc(reported, func(h corev1.NodeRuntimeHandler) bool { return h.Name == handler }), fmt.Sprint(reported)
		})
	}
}

// through goes through the steps one by one.
func (y *story) through(steps []step) {
	y.t.Helper()
	for i, st := range steps {
		before := len(y.log())
		switch {
		case st.strike == nil:
			st.do(y)
		case st.when == atGate:
			y.beforeGate(st)
		case st.when == inSoak:
			st.do(y)
			y.logged(before + 1)
			y.soaking()
			st.strike(y)
		case st.when == whileRunning:
			y.hang()
			st.do(y)
			y.begun(before + 1)
			st.strike(y)
			y.release()
		}
		if st.after != nil {
			st.after(y)
		}
		y.settled(st.version)
		if got := strings.Join(y.log()[before:], ", "); !regexp.MustCompile("^(" + st.ran + ")$").MatchString(got) {
			y.t.Errorf("step %d: the command ran %q, expected %q", i+1, got, st.ran)
		}
		if y.t.Failed() {
			return
		}
	}
}

// beforeGate strikes while the request that opens the node is on its way. The controller waits for its answer.
func (y *story) beforeGate(st step) {
	y.t.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(goOn) })
	defer open()
	gate := faults.Moment{Name: "gate", Match: func(r *faults.Request) bool {
		return faults.Gate.Match(r) && strings.Contains(r.Body, "/"+y.runtime+".longshore.dev~1gate")
	}}
	y.proxy.Trap(gate, faults.Held, func() {
		close(reached)
		<-goOn
	})
	st.do(y)
	y.await("the gate of "+y.runtime, reached)
	st.strike(y)
}

// soaking waits until the node is Ready, and asserts that it does not count yet.
func (y *story) soaking() {
	y.t.Helper()
	y.shows(y.nodes[0], y.runtime, "Ready")
	if said, turns := y.status(y.t.Context(), y.specName()), y.turns(y.t.Context(), y.runtime); said.phase == "Ready" || len(turns) != 1 {
		y.t.Errorf("the spec says %+v and has the turns %q, expected a node in its soak", said, turns)
	}
}

// log are the runs of the command on the first node.
func (y *story) log() []string {
	y.t.Helper()
	return strings.FieldsFunc(y.runs(y.nodes[0], y.runtime), func(r rune) bool { return r == '\n' })
}

// hang has the next command wait after its line in the log.
func (y *story) hang() {
	y.t.Helper()
	y.onNode("mkdir -p /opt/fault-%[1]s && touch /opt/fault-%[1]s/hang", y.runtime)
}

func (y *story) release() {
	y.t.Helper()
	y.onNode("rm /opt/fault-%s/hang", y.runtime)
}

// logged waits until so many commands have begun in all. They may have ended since.
func (y *story) logged(count int) {
	y.t.Helper()
	y.wait(y.t.Context(), fmt.Sprintf("%d commands have begun", count), func(ctx context.Context) (bool, string) {
		return len(y.log()) >= count, fmt.Sprintf("%q, %+v", y.log(), y.standing(ctx, y.nodes[0], y.runtime))
	})
}

// begun waits until so many commands have begun in all, and until the API server tells so of the last: what has not begun as far as anybody
// can see is taken back at once when it is not wanted any more.
func (y *story) begun(count int) {
	y.t.Helper()
	y.wait(y.t.Context(), fmt.Sprintf("%d commands have begun", count), func(ctx context.Context) (bool, string) {
		begun, running := len(y.log()) >= count, y.running(ctx)
		return begun && running, fmt.Sprintf("%q, shown as running: %v, %+v", y.log(), running, y.standing(ctx, y.nodes[0], y.runtime))
	})
}

// running tells whether the API server shows a command that runs on the first node.
func (y *story) running(ctx context.Context) bool {
	pods, err := y.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{
		LabelSelector: "longshore.dev/runtime-of=" + y.runtime, FieldSelector: "spec.nodeName=" + y.nodes[0],
	})
	if err != nil {
		y.t.Fatal(err)
	}
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.InitContainerStatuses {
			if c.State.Running != nil {
				return true
			}
		}
	}
	return false
}

// settled waits for the final state and asserts it.
func (y *story) settled(version string) {
	y.t.Helper()
	if version == "" {
		y.goneOf(y.t.Context(), y.runtime)
		return
	}
	y.installed(version)
}

// onNode runs a shell command on the story's first node; it has to succeed.
func (y *story) onNode(format string, args ...any) {
	y.t.Helper()
	command := fmt.Sprintf(format, args...)
	if out, err := y.sh(y.t.Context(), y.nodes[0], command); err != nil {
		y.t.Fatalf("%s: %v: %s", command, err, out)
	}
}
