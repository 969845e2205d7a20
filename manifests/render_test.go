package manifests

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/resmap"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

func TestAPanicOfKustomizeIsAnError(t *testing.T) {
	out, err := recovered(func() (resmap.ResMap, error) { panic("a nil somewhere") })
	if out != nil {
		t.Error("a result came out of a panic")
	}
	checkErrors(t, err, "kustomize panicked: a nil somewhere")
}

func TestARenderIsDoneOnce(t *testing.T) {
	r := newTestRenderer()
	rt := readSpec(t, "testdata/plain/spec.yaml")
	first := mustRender(t, r, rt)
	if second := mustRender(t, r, readSpec(t, "testdata/plain/spec.yaml")); first != second {
		t.Error("the same spec was rendered twice")
	}
	budget := readSpec(t, "testdata/plain/spec.yaml")
	budget.MaxUnavailable.IntVal = 7
	if mustRender(t, r, budget) != first {
		t.Error("a change of the budget was rendered")
	}
	grace := readSpec(t, "testdata/plain/spec.yaml")
	grace.DeletionGrace, grace.DeselectionGrace = new(time.Hour), new(time.Hour)
	if mustRender(t, r, grace) != first {
		t.Error("a change of the graces was rendered")
	}
	class := readSpec(t, "testdata/plain/spec.yaml")
	class.RuntimeClasses[0].Scheduling = spec.SchedulingNone
	if changed := mustRender(t, r, class); changed == first || changed.RuntimeClasses[0].Scheduling != nil {
		t.Error("a change of a class that is not hashed came from the cache")
	}
	patched := readSpec(t, "testdata/plain/spec.yaml")
	patched.Patches = []spec.Patch{onClass(`[{op: add, path: /metadata/annotations, value: {a: b}}]`)}
	if changed := mustRender(t, r, patched); changed.RuntimeClasses[0].Annotations["a"] != "b" {
		t.Error("a patch of a class that is not hashed came from the cache")
	}
}

func TestAFailedRenderIsDoneOnce(t *testing.T) {
	r := newTestRenderer()
	rt := readSpec(t, "testdata/plain/spec.yaml")
	rt.Patches = []spec.Patch{onBoth(`[{op: remove, path: /spec/nothing}]`)}
	for range 2 {
		_, errs := r.Render(t.Context(), rt)
		checkErrors(t, errs.ToAggregate(), "data[patches][0]")
	}
	if len(r.cache.results) != 1 {
		t.Errorf("the cache holds %d results, expected the failure", len(r.cache.results))
	}
}

func TestTheCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	var c cache
	key := func(n int) (k [32]byte) { k[0], k[1] = byte(n), byte(n>>8); return k }
	c.put(key(1000), rendered{objects: &Objects{Runtime: "kept"}})
	for n := range cacheSize * 2 {
		c.put(key(n), rendered{})
		c.get(key(1000))
	}
	if hit, ok := c.get(key(1000)); !ok || hit.objects.Runtime != "kept" {
		t.Error("a result that was used all the time is gone")
	}
	if _, ok := c.get(key(0)); ok || len(c.results) != cacheSize || len(c.order) != cacheSize {
		t.Errorf("the cache holds %d results, %d in order", len(c.results), len(c.order))
	}
}

func TestACancelledRenderIsNotRemembered(t *testing.T) {
	r := newTestRenderer()
	rt := readSpec(t, "testdata/minimal/spec.yaml")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, errs := r.Render(ctx, rt)
	checkErrors(t, errs.ToAggregate(), context.Canceled.Error())
	mustRender(t, r, rt)
}

func TestWithoutAPauseImageNothingIsRendered(t *testing.T) {
	_, errs := NewRenderer(Options{}).Render(t.Context(), readSpec(t, "testdata/minimal/spec.yaml"))
	checkErrors(t, errs.ToAggregate(), "options.pauseImage: Required value")
}

// Renderers of one process share kustomize's variables. The race detector watches.
func TestManyRenderAtOnce(t *testing.T) {
	shared := newTestRenderer()
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			own := newTestRenderer()
			for _, r := range []*Renderer{shared, own} {
				rt := readSpec(t, "testdata/patches/spec.yaml")
				rt.Name = fmt.Sprintf("runtime-%d", n)
				objects, errs := r.Render(t.Context(), rt)
				if len(errs) > 0 {
					t.Error(errs.ToAggregate())
					continue
				}
				if got, want := objects.DaemonSets[StepInstall].Name, observed.DaemonSetName(rt.Name, StepInstall, rt.Revision()); got != want {
					t.Errorf("found %s, expected %s", got, want)
				}
			}
			if err := shared.SetSite(component(fmt.Sprintf("commonAnnotations: {example.com/n: '%d'}", n))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// Whatever a patch says, a render neither panics nor lets something through that has not the names it should have, or that the API server
// cannot even begin to check.
func FuzzPatch(f *testing.F) {
	f.Add("DaemonSet", "", `[{op: replace, path: /metadata/name, value: other}]`)
	f.Add("DaemonSet", "install", "kind: DaemonSet\nmetadata: {name: x}\nspec: {template: {spec: {initContainers: [{name: install, env: [{name: A, value: b}]}]}}}")
	f.Add(".*", ".*", `[{op: move, from: /spec/template, path: /spec/selector}]`)
	f.Add("", "", "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: youki}\n$patch: replace\nhandler: x")
	f.Add("RuntimeClass", "", "$patch: merge\nkind: RuntimeClass\nscheduling: {$retainKeys: [x], tolerations: [null]}")
	f.Add("DaemonSet", "", `[{op: add, path: /spec/template/spec/initContainers/0/env/-, value: {name: NODE_NAME}}]`)
	f.Add("DaemonSet", "", `[{op: add, path: /metadata/uid, value: x}, {op: add, path: /spec/template/spec/hostAliases, value: [null, null]}]`)
	schema := newSchema(f)
	f.Fuzz(func(t *testing.T, kind, name, body string) {
		rt := readSpec(t, "testdata/patches/spec.yaml")
		rt.Patches = []spec.Patch{{Patch: body}}
		if kind != "" || name != "" {
			rt.Patches[0].Target = &spec.PatchTarget{Kind: kind, Name: name}
		}
		objects, errs := newTestRenderer().Render(t.Context(), rt)
		if len(errs) > 0 {
			return
		}
		if len(objects.DaemonSets) != 2 || len(objects.RuntimeClasses) != 1 {
			t.Errorf("the objects are %v", objects.names())
		}
		for step, set := range objects.DaemonSets {
			want := observed.DaemonSetName(rt.Name, step, rt.Revision())
			if set.Name != want || set.Spec.Selector.MatchLabels[observed.LabelInstaller] != want {
				t.Errorf("%s: the name is %s, the selector %v", step, set.Name, set.Spec.Selector)
			}
			schema.accepts(t, set)
		}
		schema.accepts(t, objects.RuntimeClasses[0])
	})
}

func BenchmarkRenderFirst(b *testing.B) {
	rt := readSpec(b, "testdata/patches/spec.yaml")
	for b.Loop() {
		mustRender(b, newTestRenderer(), rt)
	}
}

func BenchmarkRenderWarm(b *testing.B) {
	r := newTestRenderer()
	rt := readSpec(b, "testdata/patches/spec.yaml")
	mustRender(b, r, rt)
	for n := 0; b.Loop(); n++ {
		rt.InstallCmd = []string{"/install.sh", strconv.Itoa(n)}
		mustRender(b, r, rt)
	}
}

func BenchmarkRenderCached(b *testing.B) {
	r := newTestRenderer()
	rt := readSpec(b, "testdata/patches/spec.yaml")
	mustRender(b, r, rt)
	b.ReportAllocs()
	for b.Loop() {
		mustRender(b, r, rt)
	}
}
