package faulttests

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/cluster/node"
	"longshore.dev/longshore/e2e/faults"
)

// patience is how long a test waits for anything. It costs time only where something fails, and has to do for slow machines.
const patience = 150 * time.Second

// suite is one test's hands and eyes. The client goes past the proxy.
type suite struct {
	t     *testing.T
	c     *cluster.Cluster
	kube  kubernetes.Interface
	proxy *faults.Proxy
	ctl   *faults.Controller
	// closers end every controller and proxy that the test made, the last ones first.
	closers []func()
	// reported is set once [suite.report] has printed.
	reported bool
}

// start begins a test with a proxy and a controller that is not started yet; at the end nothing of any runtime may be left. Whatever a test
// that failed left behind is taken away, by force if need be: the tests that follow start from nothing.
func start(t *testing.T, flags ...string) *suite {
	t.Helper()
	if shared == nil {
		t.Skip(why)
	}
	kube, err := shared.cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, c: shared.cluster, kube: kube}
	s.proxy, s.ctl = s.controller(t.Context(), flags...)
	t.Cleanup(func() {
		defer s.close()
		s.report()
		s.clean()
	})
	return s
}

// controller makes a further controller with a proxy of its own. Without leader election a crash costs no time.
func (s *suite) controller(ctx context.Context, flags ...string) (*faults.Proxy, *faults.Controller) {
	s.t.Helper()
	config, err := s.c.RESTConfig()
	if err != nil {
		s.t.Fatal(err)
	}
	proxy, err := faults.NewProxy(ctx, config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.closers = append(s.closers, proxy.Close)
	dir := s.t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := faults.Access(ctx, s.kube, proxy, kubeconfig); err != nil {
		s.t.Fatal(err)
	}
	ctl, err := faults.NewController(shared.program, dir, append([]string{
		"--kubeconfig=" + kubeconfig, "--pause-image=" + shared.image, "--leader-elect=false", "--vanish-grace=500ms", "--mismatch-grace=500ms",
	}, flags...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.closers = append(s.closers, ctl.Close)
	return proxy, ctl
}

// close ends every controller and its proxy.
func (s *suite) close() {
	for _, end := range slices.Backward(s.closers) {
		end()
	}
	s.closers = nil
}

// run starts the controller.
func (s *suite) run() {
	s.t.Helper()
	if err := s.ctl.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// gone waits until nothing of any runtime is left.
func (s *suite) gone(ctx context.Context) {
	s.t.Helper()
	s.goneOf(ctx, "")
}

// goneOf waits until nothing of a runtime is left, "" for any.
func (s *suite) goneOf(ctx context.Context, runtime string) {
	s.t.Helper()
	s.wait(ctx, "nothing is left", s.nothing(runtime))
}

// nothing is the condition that nothing of a runtime is left, "" for any.
func (s *suite) nothing(runtime string) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		left := s.left(ctx, runtime)
		return len(left) == 0, strings.Join(left, ", ")
	}
}

// left lists what is there of a runtime, "" for any.
func (s *suite) left(ctx context.Context, runtime string) []string {
	var left []string
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		for _, m := range []map[string]string{n.Labels, n.Annotations} {
			for key, value := range m {
				if strings.Contains(key, ".longshore.dev/") && (runtime == "" || strings.HasPrefix(key, runtime+".")) {
					left = append(left, n.Name+" "+key+"="+value)
				}
			}
		}
	}
	ours := metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of"}
	if runtime != "" {
		ours.LabelSelector += "=" + runtime
	}
	add := func(kind string, count int, err error) {
		switch {
		case err != nil:
			left = append(left, fmt.Sprintf("%s: %v", kind, err))
		case count > 0:
			left = append(left, fmt.Sprintf("%d %s", count, kind))
		}
	}
	sets, err := s.kube.AppsV1().DaemonSets("longshore").List(ctx, ours)
	add("DaemonSets", len(sets.Items), err)
	revisions, err := s.kube.AppsV1().ControllerRevisions("longshore").List(ctx, ours)
	add("ControllerRevisions", len(revisions.Items), err)
	classes, err := s.kube.NodeV1().RuntimeClasses().List(ctx, ours)
	add("RuntimeClasses", len(classes.Items), err)
	pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, ours)
	add("pods", len(pods.Items), err)
	turns := s.turns(ctx, runtime)
	add("turns", len(turns), nil)
	slices.Sort(left)
	return left
}

// turns are the bookings of a runtime, "" for any, a line a turn.
func (s *suite) turns(ctx context.Context, runtime string) []string {
	cm, err := s.kube.CoreV1().ConfigMaps("longshore-system").Get(ctx, "longshore-turns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return []string{err.Error()}
	}
	var turns []string
	for uid, text := range cm.Data {
		for line := range strings.Lines(text) {
			if runtime == "" || strings.HasPrefix(line, runtime+" ") {
				turns = append(turns, uid+" "+strings.TrimSpace(line))
			}
		}
	}
	slices.Sort(turns)
	return turns
}

// report prints, once for a test that failed, what a person would look at first: what is there, and what nodes say of pods that do not go. The end
// of a long output is what is most likely to be lost.
func (s *suite) report() {
	if !s.t.Failed() || s.reported {
		return
	}
	s.reported = true
	ctx, cancel := within()
	defer cancel()
	for _, args := range [][]string{
		{"--namespace=longshore", "get", "daemonsets,pods", "--output=wide", "--no-headers"},
		{"--namespace=longshore-system", "get", "configmap", "longshore-turns", "--output=jsonpath={.data}"},
		{"--namespace=longshore", "get", "configmaps", "--selector=longshore.dev/runtime", `--output=jsonpath={range .items[*]}{.metadata.name}{": "}{.metadata.annotations.longshore\.dev/message}{"\n"}{end}`},
	} {
		out, err := s.c.Kubectl(ctx, args...)
		s.t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
	s.reportStuck(ctx)
	s.t.Logf("controller:\n%s", s.ctl.Words(30))
}

// reportStuck prints of each installer that is to go and does not what it shows, and what its node says of it.
func (s *suite) reportStuck(ctx context.Context) {
	pods, err := s.kube.CoreV1().Pods("longshore").List(ctx, metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of"})
	if err != nil {
		s.t.Log(err)
		return
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil {
			continue
		}
		s.t.Logf("pod %s on node %s is to go since %s, grace %ds: %s", p.Name, p.Spec.NodeName, p.DeletionTimestamp, *cmp.Or(p.DeletionGracePeriodSeconds, new(int64)), p.Status.String())
		n, err := s.c.Node(p.Spec.NodeName)
		if err != nil {
			continue
		}
		for _, service := range []string{"kubelet", "containerd"} {
			var lines []string
			for line := range strings.Lines(n.Logs(service)) {
				if service == "containerd" || strings.Contains(line, p.Name) || strings.Contains(line, string(p.UID)) {
					lines = append(lines, line)
				}
			}
			s.t.Logf("%s of node %s:\n%s", service, p.Spec.NodeName, strings.Join(lines[max(0, len(lines)-40):], ""))
		}
	}
}

// wait waits until the condition holds, and ends the test where it does not; the text it returns says how things stand.
func (s *suite) wait(ctx context.Context, what string, condition func(context.Context) (bool, string)) {
	s.t.Helper()
	if err := until(ctx, what, condition); err != nil {
		s.t.Fatal(err)
	}
}

// until waits as [suite.wait] does. The condition may take a little longer than there is patience: it says how things stand in the end.
func until(ctx context.Context, what string, condition func(context.Context) (bool, string)) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	ctx, cancel := context.WithTimeout(ctx, patience+patience/10)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, stand := condition(ctx)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w; it stands: %s", what, ctx.Err(), stand)
		case <-late.C:
			return fmt.Errorf("waiting until %s: not within %s; it stands: %s", what, patience, stand)
		case <-tick.C:
		}
	}
}

// await waits for a channel, a trap's as a rule.
func (s *suite) await(what string, done <-chan struct{}) {
	s.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.t.Fatalf("waiting for %s: not there after %s", what, patience)
	}
}

// kubectl runs kubectl, which has to succeed.
func (s *suite) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.c.Kubectl(s.t.Context(), args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// machine is a real node.
func (s *suite) machine(name string) *node.Node {
	s.t.Helper()
	n, err := s.c.Node(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// sh runs a shell command on a node and returns what it printed.
func (s *suite) sh(ctx context.Context, name, command string) (string, error) {
	n, err := s.c.Node(name)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = n.Exec(ctx, []string{"/bin/sh", "-c", command}, nil, &out, &out)
	return strings.TrimSpace(out.String()), err
}

// node is a node's object.
func (s *suite) node(ctx context.Context, name string) *corev1.Node {
	s.t.Helper()
	n, err := s.kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// progress is the story of a runtime on a node.
type progress struct {
	Phase, Operation, Revision, Previous, Reason, Message, PodUID, BootID string
	Attempt                                                               int
}

// standing is what a node shows of a runtime.
type standing struct {
	progress
	gate, ready, phase string
}

func (s *suite) standing(ctx context.Context, name, runtime string) standing {
	s.t.Helper()
	n := s.node(ctx, name)
	prefix := runtime + ".longshore.dev/"
	st := standing{gate: n.Labels[prefix+"gate"], ready: n.Labels[prefix+"ready"], phase: n.Labels[prefix+"phase"]}
	if text := n.Annotations[prefix+"progress"]; text != "" {
		if err := json.Unmarshal([]byte(text), &st.progress); err != nil {
			s.t.Fatalf("progress of node %s: %v in %q", name, err, text)
		}
	}
	return st
}

// shows waits until the node is in the phase, and returns what it shows; "" is for a node without any key.
func (s *suite) shows(name, runtime, phase string) standing {
	s.t.Helper()
	var st standing
	s.wait(s.t.Context(), fmt.Sprintf("node %s is %q with %s", name, phase, runtime), func(ctx context.Context) (bool, string) {
		st = s.standing(ctx, name, runtime)
		return st.Phase == phase && st.phase == phase, fmt.Sprintf("%+v", st)
	})
	return st
}

// runs is the log that payloads write on a node, a line a run of the command.
func (s *suite) runs(name, runtime string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.machine(name).Root(), logPath(runtime)))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func logPath(runtime string) string { return "/opt/fault-" + runtime + "/runs" }
