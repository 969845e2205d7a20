package gitops

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// eight plays what every tool has to be able to do.
func (w *world) eight(t *testing.T, with tool) {
	w.product(t, with)
	w.play(t, with, "first sync", firstSync)
	w.play(t, with, "edit", edit)
	w.play(t, with, "bad edit", badEdit)
	w.play(t, with, "rename by hash", rename)
	w.play(t, with, "rename by hash, older leftover", renameBesideLeftover)
	w.play(t, with, "rename by hash, two in order", renameInOrder)
	w.play(t, with, "prune", prune)
	w.play(t, with, "git revert", revert)
	w.play(t, with, "git revert without pruning", revertUnpruned)
	w.play(t, with, "drift of the spec", driftOfSpec)
	w.play(t, with, "drift of our objects", driftOfObjects)
	w.play(t, with, "deletion, specs first", deletionInOrder)
	w.play(t, with, "deletion, all at once", deletionAtOnce)
}

func firstSync(s *scenario) {
	s.sync(fixed(s.app.path, spec(s.runtime)))
}

func edit(s *scenario) {
	before := spec(s.runtime)
	s.begin(fixed(s.app.path, before))
	s.push(fixed(s.app.path, before.with("payloadImage", "gitops.test/payload:2")))
	s.until(good, patience)
	s.installed()
}

// badEdit is a key with a typo.
func badEdit(s *scenario) {
	before := spec(s.runtime)
	s.begin(fixed(s.app.path, before))
	s.push(fixed(s.app.path, before.with("payloadImag", "gitops.test/payload:2")))
	s.until(bad, soon, s.about(installers, s.runtime, "payloadImag")...)
	s.untouched()
	s.revert()
	s.until(good, patience)
	s.untouched()
}

func rename(s *scenario) {
	before := spec(s.runtime, "deletionGrace", "")
	s.begin(hashed(s.app.path, before))
	s.push(hashed(s.app.path, before.with("maxUnavailable", "2")))
	s.until(good, patience)
	s.remain(s.runtime, 1)
	s.untouched()
}

// renameBesideLeftover renames a spec while an older one of the same runtime, of another revision, is in the
// cluster.
func renameBesideLeftover(s *scenario) {
	before := spec(s.runtime, "deletionGrace", "")
	old := before.with("payloadImage", "gitops.test/payload:0")
	s.create(old, s.runtime+"-leftover")
	s.ready(s.runtime + "-leftover")
	s.begin(hashed(s.app.path, before))
	s.push(hashed(s.app.path, before.with("maxUnavailable", "2")))
	s.until(good, patience)
	s.remain(s.runtime, 2)
	s.untouched()
}

// renameInOrder renames the specs of two runtimes of which one comes after the other: two sync waves, two
// Kustomizations, two folders. The first rename is a new payload, and its rollout takes longer than the grace that
// runtimes have by default in these tests.
func renameInOrder(s *scenario) {
	second := s.runtime + "-2"
	s.w.offer(s.T, second)
	const slowly = `[{"op": "add", "path": "/spec/template/metadata/annotations", "value": {"sim.test/init-delay": "4s"}}]`
	slow := mustJSON([]any{map[string]any{"patch": slowly, "target": map[string]any{"kind": "DaemonSet"}}})
	one := spec(s.runtime, "deletionGrace", "", "maxUnavailable", "1", "patches", slow)
	two := spec(second, "deletionGrace", "")
	pushBoth := s.inOrder(second)
	pushBoth(one, two)
	if s.tool.waves() {
		s.until(good, patience, "SyncWave", "deletionGrace")
	}
	s.until(good, patience)
	s.installed()
	s.ran(second, "install")
	one, two = one.with("deletionGrace", "10m"), two.with("deletionGrace", "10m")
	pushBoth(one, two)
	s.until(good, patience)
	s.ran(s.runtime, "")
	s.ran(second, "")
	s.said, s.runs = nil, nil
	pushBoth(one.with("payloadImage", "gitops.test/payload:2"), two.with("maxUnavailable", "2"))
	s.until(good, patience)
	s.installed()
	s.ran(second, "")
	s.remain(s.runtime, 1)
	s.remain(second, 1)
}

// inOrder returns how specs of two runtimes are pushed so that the tool carries the second after the first. The
// scenario's application is the last one then.
func (s *scenario) inOrder(second string) func(one, two source) {
	if s.tool.waves() {
		return func(one, two source) {
			one.annotations, two.annotations = wave("0"), wave("1")
			s.push(hashed(s.app.path, one, two))
		}
	}
	first, last := s.app, s.application(second)
	last.after = first.name
	s.Cleanup(func() {
		if err := s.tool.forget(context.Background(), first); err != nil {
			s.Errorf("deleting the first application: %v", err)
		}
	})
	return func(one, two source) {
		mark := time.Now()
		s.app = first
		s.push(hashed(first.path, one))
		s.until(good, patience)
		s.app = last
		s.push(hashed(last.path, two))
		s.mark = mark
	}
}

func wave(number string) map[string]string {
	return map[string]string{"argocd.argoproj.io/sync-wave": number}
}

func prune(s *scenario) {
	s.begin(fixed(s.app.path, spec(s.runtime)))
	s.push(fixed(s.app.path))
	s.until(good, patience)
	s.gone(s.runtime)
	s.ran(s.runtime, "uninstall")
}

func revert(s *scenario) {
	before := spec(s.runtime)
	s.begin(fixed(s.app.path, before))
	s.push(fixed(s.app.path, before.with("payloadImage", "gitops.test/payload:2")))
	s.until(good, patience)
	s.installed()
	s.revert()
	s.until(good, patience)
	s.installed()
}

// revertUnpruned goes back to a spec that was left in the cluster because nothing is pruned. No one can see which
// of the two is meant.
func revertUnpruned(s *scenario) {
	s.app.keep = true
	before := spec(s.runtime)
	s.begin(hashed(s.app.path, before))
	first := s.newest()
	s.push(hashed(s.app.path, before.with("payloadImage", "gitops.test/payload:2")))
	eventually(s.T, "the second spec is there", soon, func(context.Context) (bool, string) {
		name := s.newest()
		return name != first, name
	})
	s.ready(s.newest())
	s.installed()
	s.revert()
	s.until(bad, soon, s.about(installers, first, "nothing in this ConfigMap is obeyed", s.newest())...)
	s.untouched()
}

func driftOfSpec(s *scenario) {
	before := spec(s.runtime)
	s.begin(fixed(s.app.path, before))
	s.mark = time.Now()
	patch := []byte(`{"data":{"maxUnavailable":"1"}}`)
	byHand := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	if _, err := s.w.configMaps().Patch(s.Context(), s.runtime, types.MergePatchType, patch, byHand); err != nil {
		s.Fatal(err)
	}
	s.look()
	eventually(s.T, "the spec is as in Git", soon, func(ctx context.Context) (bool, string) {
		cm, err := s.w.configMaps().Get(ctx, s.runtime, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return cm.Data["maxUnavailable"] == before.data["maxUnavailable"], cm.Data["maxUnavailable"]
	})
	s.until(good, patience)
	s.untouched()
}

// driftOfObjects deletes what Longshore made. Longshore makes it again, and the tool never says anything else than
// that all is well.
func driftOfObjects(s *scenario) {
	s.begin(fixed(s.app.path, spec(s.runtime)))
	s.mark = time.Now()
	of := metav1.ListOptions{LabelSelector: runtimeOf + "=" + s.runtime}
	sets, err := s.w.kube.AppsV1().DaemonSets(installers).List(s.Context(), of)
	if err != nil || len(sets.Items) == 0 {
		s.Fatalf("DaemonSets of %s: %d, %v; expected some", s.runtime, len(sets.Items), err)
	}
	err = s.w.kube.AppsV1().DaemonSets(installers).DeleteCollection(s.Context(), metav1.DeleteOptions{}, of)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.w.kube.NodeV1().RuntimeClasses().Delete(s.Context(), s.runtime, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	eventually(s.T, "Longshore has restored its objects", soon, func(ctx context.Context) (bool, string) {
		if v, err := s.tool.says(ctx, s.app, s.commit); err != nil || v.kind != good {
			s.Fatalf("%s says %s: %s, %v; expected that it sees nothing", s.tool.name(), v.kind, v.words, err)
		}
		now, err := s.w.kube.AppsV1().DaemonSets(installers).List(ctx, of)
		if err != nil {
			return false, err.Error()
		}
		_, err = s.w.kube.NodeV1().RuntimeClasses().Get(ctx, s.runtime, metav1.GetOptions{})
		stand := fmt.Sprintf("%d DaemonSets, RuntimeClass: %v", len(now.Items), err)
		return err == nil && len(now.Items) == len(sets.Items), stand
	})
	s.until(good, patience)
	s.untouched()
}
