package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/e2e/footprint"
	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

// crun returns a payload of crun and the spec that installs it under the test's runtime name.
func (s *suite) crun(version, selector string) string {
	s.t.Helper()
	image, err := payloads.Crun(s.t.Context(), os.Stdout, version)
	if err != nil {
		s.t.Fatal(err)
	}
	text := payloads.CrunSpec(s.push("crun:"+version, image))
	text = strings.Replace(text, "nodeSelector: kubernetes.io/os=linux", "nodeSelector: "+selector, 1)
	return strings.Replace(text, "soak: 5s", "soak: 1s", 1)
}

// shell pushes an image with nothing but a shell.
func (s *suite) shell() string {
	s.t.Helper()
	layer, err := images.Shell(s.t.Context(), os.Stdout)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.push("shell:1", images.Image{Layers: [][]images.File{layer}})
}

// prove runs the proof in a pod and tells whether it holds.
func (s *suite) prove(pod string) bool {
	s.t.Helper()
	out, err := s.c.Kubectl(s.t.Context(), append([]string{"exec", pod, "--"}, payloads.CrunProof...)...)
	if err != nil && !strings.Contains(err.Error(), "exit code 1") {
		s.t.Fatalf("exec in pod %s: %v", pod, err)
	}
	return err == nil && strings.Contains(out, "size=0k")
}

func TestARuntimeIsInstalledUpgradedAndUninstalledWithNothingLeftBehind(t *testing.T) {
	s := start(t, "crun")
	nodes := []string{nodeA, nodeB}
	before := map[string]footprint.Footprint{}
	for _, n := range nodes {
		before[n] = s.footprint(n)
	}
	stop := s.watchGates()
	audited := s.audited()

	s.apply(s.crun("1.0", "containerd=2"))
	first := s.ready("crun", 2)
	s.story(nodes, first)
	s.writesOfAnInstall(nodes, audited)

	image := s.shell()
	ids := map[string]string{}
	for _, n := range nodes {
		p := s.pod("crun-on-"+n, n, "crun", image)
		ids[n] = p.Status.ContainerStatuses[0].ContainerID
		if !s.prove(p.Name) {
			t.Errorf("pod %s does not run under crun", p.Name)
		}
		s.pod("default-on-"+n, n, "", image)
		if s.prove("default-on-" + n) {
			t.Errorf("the proof holds under the default runtime as well: it proves nothing")
		}
	}

	s.apply(s.crun("1.1", "containerd=2"))
	s.wait(t.Context(), "the new revision is Ready everywhere", func(ctx context.Context) (bool, string) {
		st := s.status(ctx, "crun")
		return st.phase == "Ready" && st.revision != first && st.progress == "2/2", fmt.Sprintf("%+v", st)
	})
	for _, n := range nodes {
		if version, err := s.exec(n, "cat", "/opt/crun/VERSION"); err != nil || version != "1.1" {
			t.Errorf("node %s has version %q (%v) after the upgrade, expected 1.1", n, version, err)
		}
		p, err := s.kube.CoreV1().Pods("default").Get(t.Context(), "crun-on-"+n, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if id := p.Status.ContainerStatuses[0].ContainerID; id != ids[n] || p.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("the pod on node %s did not outlive the upgrade: container %s, before %s", n, id, ids[n])
		}
		s.deletePod("crun-on-" + n)
		s.deletePod("default-on-" + n)
	}
	s.noOwners()

	s.remove()
	for _, n := range nodes {
		s.same(n, before[n])
	}
	if worst := stop(); worst != 1 {
		t.Errorf("%d nodes had a gate at the same time, expected never more than 1", worst)
	}
}

// story checks what the nodes tell after an install.
func (s *suite) story(nodes []string, revision string) {
	s.t.Helper()
	for _, n := range nodes {
		p := s.progress(s.t.Context(), n)
		if p.Phase != "Ready" || p.Revision != revision || p.Operation != "install" || p.Attempt != 1 || p.Reason != "HandlersReported" ||
			p.PodUID == "" || p.MachineID == "" || p.BootID == "" {
			s.t.Errorf("node %s tells %+v, expected a first install of %s with proof", n, p, revision)
		}
		if ready, gate, phase := s.label(s.t.Context(), n, "ready"), s.label(s.t.Context(), n, "gate"), s.label(s.t.Context(), n, "phase"); ready != "true" || gate != "" || phase != "Ready" {
			s.t.Errorf("node %s has labels ready=%q gate=%q phase=%q, expected true, none, Ready", n, ready, gate, phase)
		}
	}
	class, err := s.kube.NodeV1().RuntimeClasses().Get(s.t.Context(), "crun", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if class.Handler != "crun" || class.Scheduling == nil || class.Scheduling.NodeSelector["crun.longshore.dev/ready"] != "true" {
		s.t.Errorf("RuntimeClass is %+v, expected handler crun on nodes with the ready label", class)
	}
	pods, err := s.kube.CoreV1().Pods("longshore").List(s.t.Context(), metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=crun"})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			s.t.Errorf("pod %s is left: nothing privileged may stay on a node", pods.Items[i].Name)
		}
	}
}

// audited is how long the API server's audit log is now.
func (s *suite) audited() int64 {
	s.t.Helper()
	info, err := os.Stat(s.c.AuditLog())
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Size()
}

// writesOfAnInstall reads the API server's audit log from there on: an install costs a node two writes, the gate and the result.
func (s *suite) writesOfAnInstall(nodes []string, from int64) {
	s.t.Helper()
	file, err := os.Open(s.c.AuditLog())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		s.t.Fatal(err)
	}
	writes := map[string]int{}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var event struct {
			Stage, Verb string
			User        struct{ Username string }
			ObjectRef   struct{ Resource, Name, Subresource string }
		}
		if err := json.Unmarshal(scanner.Bytes(), &event); err != nil {
			s.t.Fatalf("audit log: %v in %q", err, scanner.Text())
		}
		if event.Stage == "ResponseComplete" && event.ObjectRef.Resource == "nodes" && event.User.Username == "system:serviceaccount:longshore-system:longshore" &&
			event.Verb != "get" && event.Verb != "list" && event.Verb != "watch" {
			writes[event.ObjectRef.Name]++
		}
	}
	for _, n := range nodes {
		if writes[n] != 2 {
			s.t.Errorf("node %s was written %d times during its install, expected 2 (gate, result)", n, writes[n])
		}
	}
}

// noOwners checks that no snapshot got an owner: the DaemonSet controller adopts and prunes ControllerRevisions that match a selector.
func (s *suite) noOwners() {
	s.t.Helper()
	list, err := s.kube.AppsV1().ControllerRevisions("longshore").List(s.t.Context(), metav1.ListOptions{LabelSelector: "longshore.dev/runtime-of=" + s.runtime + ",!longshore.dev/installer"})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(list.Items) != 2 {
		s.t.Errorf("%d snapshots, expected one for each of the two revisions", len(list.Items))
	}
	for i := range list.Items {
		if owners := list.Items[i].OwnerReferences; len(owners) != 0 {
			s.t.Errorf("ControllerRevision %s has owners %+v", list.Items[i].Name, owners)
		}
	}
}

// watchGates watches all nodes, and returns a function that tells the most nodes that had a gate of the runtime at once.
func (s *suite) watchGates() func() int {
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
			if object.GetLabels()[s.runtime+".longshore.dev/gate"] != "" {
				gated[object.GetName()] = true
			}
			worst = max(worst, len(gated))
		}
	})
	return func() int {
		w.Stop()
		cancel()
		wg.Wait()
		return worst
	}
}
