package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// watched is a cluster that somebody watches, in a bubble of virtual time that begins at noon.
type watched struct {
	*cluster
	t       *testing.T
	kube    *fake.Clientset
	version int
}

// watching calls body while a display shows the cluster, and returns when the watch has ended.
func watching(t *testing.T, display display, args []string, body func(*watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon))
		w := &watched{cluster: newCluster(t), t: t}
		w.kube = fake.NewClientset(w.objects...)
		o := &statusOptions{connection: connection{namespace: "longshore", system: "longshore-system"}}
		changed := make(chan struct{}, 1)
		look := func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- o.observe(ctx, w.kube, look, func(ctx context.Context, cluster *informers.Cluster) error {
				return (&watcher{eyes: cluster, changed: changed, display: display}).run(ctx, args)
			})
		}()
		w.pass(500 * time.Millisecond)
		body(w)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

// pass lets time pass.
func (w *watched) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// write puts a progress on a node, as the controller would.
func (w *watched) write(name string, change func(*corev1.Node, *observed.Progress)) {
	w.t.Helper()
	nodes := w.kube.CoreV1().Nodes()
	node, err := nodes.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	look := informers.Node(node)
	p := look.Progress("kata")
	if p == nil {
		p = &observed.Progress{Operation: observed.Install, Revision: w.revision, Attempt: 1}
	}
	p.Since = time.Now()
	change(node, p)
	node.Annotations[observed.ProgressKey("kata")] = p.String()
	node.Labels[observed.PhaseKey("kata")] = string(p.Phase)
	// The fake API server gives none, and what has the same version is the same.
	w.version++
	node.ResourceVersion = strconv.Itoa(w.version)
	if _, err := nodes.Update(w.t.Context(), node, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func readyNow(n *corev1.Node, p *observed.Progress) {
	p.Phase, p.Reason, p.Message = observed.PhaseReady, "HandlersReported", "the node reports handler kata"
	delete(n.Labels, observed.GateKey("kata"))
	n.Labels[observed.ReadyKey("kata")] = "true"
	n.Status.RuntimeHandlers = append(n.Status.RuntimeHandlers, corev1.NodeRuntimeHandler{Name: "kata"})
}

// golden compares with a file in testdata/watch.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "watch", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-) and what is shown today (+), run with UPDATE=1 to bring them together:\n%s", file, diff)
	}
}

func TestAWatchRedrawsInPlace(t *testing.T) {
	term := newTerminal(110, 16)
	fmt.Fprint(term, "$ longshore status -w\r\n")
	var frames strings.Builder
	note := func(title string) { frames.WriteString("--- " + title + "\n" + term.seen()) }
	watching(t, &screen{out: term, size: term.size, troubles: &troubles{}}, nil, func(w *watched) {
		note("at first")
		if !term.hidden {
			t.Error("the cursor jumps about")
		}
		w.pass(5 * time.Second)
		note("five seconds later")
		w.write("b", readyNow)
		w.pass(200 * time.Millisecond)
		note("b is Ready, and watched")
		w.write("e", func(n *corev1.Node, p *observed.Progress) {
			p.Phase = observed.PhaseInstalling
			n.Labels[observed.GateKey("kata")] = observed.GateValue(w.revision, "install")
		})
		w.pass(70 * time.Second)
		note("e is at work, and b is done")
		term.resize(60, 8)
		w.pass(time.Second)
		note("the terminal is smaller")
		w.kube.ClearActions()
		w.pass(time.Minute)
		if asked := w.kube.Actions(); len(asked) > 0 {
			t.Errorf("the cluster was asked: %v", asked)
		}
	})
	for _, c := range term.complaints {
		t.Errorf("the terminal got %s", c)
	}
	if len(term.history) > 0 && term.history[0] != "$ longshore status -w" {
		t.Errorf("scrolled away: %q", term.history)
	}
	if term.hidden {
		t.Error("the cursor stays hidden")
	}
	golden(t, "frames.txt", frames.String())
}

func TestAWatchShowsARefusedPoolAboveAllElse(t *testing.T) {
	snap := newCluster(t).snapshot(t)
	snap.Pools = []observed.Spec{{Name: "pool-blue", Pool: "blue", Data: map[string]string{"nodeSelector": "*", "soak": "1m"}}}
	term, out := newTerminal(100, 20), &bytes.Buffer{}
	s, l := &screen{out: term, size: term.size, troubles: &troubles{}}, &lines{out: out, troubles: &troubles{}}
	show := func() {
		v := lookAt(snap)
		for _, d := range []display{s, l} {
			if err := d.show(v, wanted{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	show()
	if shown := term.seen(); !strings.HasPrefix(shown, "pool blue (ConfigMap pool-blue) Invalid: ") {
		t.Errorf("the screen shows\n%s", shown)
	}
	snap.Pools = nil
	show()
	show()
	if shown := term.seen(); strings.Contains(shown, "pool") {
		t.Errorf("the screen still shows\n%s", shown)
	}
	if told := out.String(); strings.Count(told, "pool blue (ConfigMap pool-blue) Invalid: ") != 1 || strings.Count(told, "pool blue is gone") != 1 {
		t.Errorf("the lines are\n%s", told)
	}
}

func TestAWatchOfANodeRedrawsItsStory(t *testing.T) {
	term := newTerminal(80, 30)
	watching(t, &screen{out: term, size: term.size, troubles: &troubles{}}, []string{"node/b"}, func(w *watched) {
		before := term.seen()
		w.write("b", readyNow)
		w.pass(200 * time.Millisecond)
		if after := term.seen(); !strings.Contains(before, "Runtime kata   Installing") || !strings.Contains(after, "Runtime kata   Ready") || strings.Contains(after, "Installing") {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	for _, c := range term.complaints {
		t.Errorf("the terminal got %s", c)
	}
}

func TestAWatchOfWhatIsNotThereEndsAtOnce(t *testing.T) {
	w := &watcher{eyes: still{newCluster(t).snapshot(t)}, display: &lines{out: &bytes.Buffer{}, troubles: &troubles{}}}
	if err := w.run(t.Context(), []string{"other"}); err == nil || !strings.Contains(err.Error(), `"other": no runtime`) {
		t.Errorf("the watch ended with %v", err)
	}
}

// still is a cluster in which nothing happens.
type still struct{ snap *observed.Snapshot }

func (s still) Snapshot(time.Time) *observed.Snapshot { return s.snap }

// safe is a buffer for several goroutines.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestAWatchIntoAPipeTellsChangesOnly(t *testing.T) {
	out := &safe{}
	trouble := &troubles{}
	watching(t, &lines{out: out, troubles: trouble}, nil, func(w *watched) {
		w.pass(10 * time.Second)
		w.write("b", readyNow)
		w.pass(70 * time.Second)
		_, err := trouble.Write([]byte("W1120 12:01:20.000000       1 reflector.go:1] \"Failed to watch\" err=\"connection refused\"\n"))
		if err != nil {
			t.Error(err)
		}
		w.pass(5 * time.Second)
		if err := w.kube.CoreV1().Nodes().Delete(t.Context(), "e", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
	})
	golden(t, "lines.txt", out.String())
}

// road is the way to an API server.
type road struct{ err error }

func (r *road) RoundTrip(*http.Request) (*http.Response, error) { return &http.Response{}, r.err }

func TestALostConnectionIsShownUntilACallGetsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, trouble := &road{}, &troubles{}
		trip := trouble.watch(way)
		call := func(ctx context.Context) string {
			t.Helper()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = trip.RoundTrip(request) //nolint:bodyclose // there is none
			text, since := trouble.last(time.Now())
			return text + since.Format(" 15:04")
		}
		start := time.Now().Format("15:04")
		way.err = errors.New("connection refused")
		if got := call(t.Context()); got != "connection refused "+start {
			t.Errorf("the trouble is %q", got)
		}
		time.Sleep(5 * time.Minute)
		if got := call(t.Context()); got != "connection refused "+start {
			t.Errorf("five minutes later the trouble is %q", got)
		}
		way.err = nil
		if got := call(t.Context()); got != " 00:00" {
			t.Errorf("when calls get through the trouble is %q", got)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		way.err = context.Canceled
		if got := call(ended); got != " 00:00" {
			t.Errorf("a watch that we end ourselves is trouble %q", got)
		}
	})
}

func TestWhatPayloadsSayDoesNotReachTheTerminalAsAnEscape(t *testing.T) {
	nasty := "a\x1b]0;pwned\x07b\x1b[2Jc\u009b31md\u202ee\u200bf\r\ng\x00h\xff\U000e0041i\tj 漢字\u0301 k\x7f\u2028l\x90m"
	term := newTerminal(100, 40)
	var out, table, data bytes.Buffer
	snap := newCluster(t).snapshot(t)
	for i := range snap.Nodes {
		n := &snap.Nodes[i]
		n.Annotations[observed.HoldKey("kata")] = nasty
		if p := n.Progress("kata"); p != nil {
			p.Message, p.Reason, p.Step = nasty, nasty, nasty
		}
		n.Index()
	}
	for i := range snap.Pods {
		snap.Pods[i].Name, snap.Pods[i].Reason, snap.Pods[i].Message = nasty, nasty, nasty
		for j := range snap.Pods[i].Steps {
			snap.Pods[i].Steps[j] = observed.Container{Name: nasty, Waiting: nasty, WaitingMessage: nasty, Exit: &observed.Exit{Code: 1, Reason: nasty, Message: nasty}}
		}
	}
	snap.Specs[0].Data["nodeSelector"] = nasty
	v := lookAt(snap)
	for i := range v.report.Runtimes {
		for j := range v.report.Runtimes[i].Nodes {
			n := &v.report.Runtimes[i].Nodes[j]
			n.Reason, n.Message, n.Step = nasty, nasty, nasty
		}
	}
	all := wanted{nodes: []string{"a", "b", "c", "d", "e"}}
	s := &screen{out: term, size: term.size, troubles: &troubles{lost: nasty, lostSince: noon}}
	if err := s.show(v, wanted{}); err != nil {
		t.Fatal(err)
	}
	if shown := term.seen(); !strings.Contains(shown, "]0;pwned") {
		t.Errorf("the words are not there at all:\n%s", shown)
	}
	if err := s.show(v, all); err != nil {
		t.Fatal(err)
	}
	for _, show := range []func() error{
		func() error { return (&lines{out: &out, troubles: &troubles{}}).show(v, wanted{}) },
		func() error { return printReport(&table, "table", v.report) },
		func() error { return printStories(&table, "table", told{Time: noon, Nodes: v.stories(all)}) },
	} {
		if err := show(); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"json", "yaml"} {
		if err := printReport(&data, format, v.report); err != nil {
			t.Fatal(err)
		}
	}
	if i := strings.IndexFunc(data.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }); i >= 0 {
		t.Errorf("the data has a control character in %q", data.String()[max(i-20, 0):i+3])
	}
	for text := range strings.Lines(out.String() + table.String()) {
		fresh := newTerminal(100000, 3)
		fmt.Fprint(fresh, text)
		term.complaints = append(term.complaints, fresh.complaints...)
	}
	for _, c := range term.complaints {
		t.Errorf("the terminal got %s", c)
	}
}

func TestAFrameFitsWhateverTheTerminal(t *testing.T) {
	v := lookAt(newCluster(t).snapshot(t))
	r := &v.report.Runtimes[0]
	for i := range 30 {
		r.Nodes = append(r.Nodes,
			status.NodeReport{Node: fmt.Sprintf("w-%02d", i), Phase: "Installing", Operation: observed.Install, Step: "install", Since: noon, Reason: string(rollout.CommandRunning), Message: "step install is running"},
			status.NodeReport{Node: fmt.Sprintf("f-%02d", i), Phase: "Failed", Since: noon, Reason: string(rollout.InstallFailed), Message: strings.Repeat("no space left on the device 漢字 ", 20)})
	}
	r.Total += 60
	second := *r
	second.Name = "gvisor"
	v.report.Runtimes = append(v.report.Runtimes, second)
	for _, width := range []int{1, 2, 17, 60, 129} {
		for _, height := range []int{1, 2, 3, 8, 24, 55} {
			term := newTerminal(width, height)
			s := &screen{out: term, size: term.size, troubles: &troubles{}}
			for range 3 {
				if err := s.show(v, wanted{}); err != nil {
					t.Fatal(err)
				}
			}
			if len(term.complaints) > 0 {
				t.Fatalf("%d×%d: the terminal got %s", width, height, term.complaints[0])
			}
			if len(term.history) > 0 {
				t.Fatalf("%d×%d: something scrolled away: %q", width, height, term.history)
			}
			if height > 30 && width > 40 && !strings.Contains(term.seen(), "f-00") {
				t.Fatalf("%d×%d: no failure is shown:\n%s", width, height, term.seen())
			}
			if height > 30 && width > 40 && !strings.Contains(term.seen(), "w-00") {
				t.Fatalf("%d×%d: no node under way is shown:\n%s", width, height, term.seen())
			}
		}
	}
}
