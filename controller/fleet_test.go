package controller_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"longshore.dev/longshore/controller"
	"longshore.dev/longshore/controller/simulation"
	"longshore.dev/longshore/observed"
)

// The fleet comes first, and nothing stops for one bad object. Each name begins with the number of the finding that it holds.

func TestA1OneNewNodeThatFailsGivesNoProvenRevisionUp(t *testing.T) {
	badDisk := func(r simulation.Run) simulation.Result {
		if r.Node == "d" && r.Operation == "install" {
			return simulation.Result{Takes: time.Second, Code: 1, Message: "input/output error"}
		}
		return wellBehaved(r)
	}
	run(t, badDisk, threeNodes(spec("kata-1", "one", "onFailure", "Rollback", "attempts", "1")), func(c *cluster) {
		c.installed()
		c.pass(20 * time.Minute)
		c.stop()
		c.api.Create(simulation.ReadyNode("d", nil))
		c.start()
		c.within(5*time.Minute, "the new node failed, and the spec says so", func() bool {
			return c.phaseIs("kata-1", "Halted")() && strings.Contains(c.status("kata-1", "message"), "is proven and stays in force")
		})
		c.pass(20 * time.Minute)
		for _, line := range c.nodes()[:3] {
			if !strings.HasSuffix(line, allReady) {
				t.Errorf("%s, expected the runtime to be there", line)
			}
		}
		if got := c.eventsLike("RevisionGivenUp"); len(got) > 0 {
			t.Errorf("events: %v", got)
		}
	})
}

// relabel gives nodes a label, or takes it off.
func relabel(c *cluster, value string, nodes ...string) {
	for _, name := range nodes {
		simulation.Change(c.api, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, func(n *corev1.Node) {
			if n.Labels["pool"] = value; value == "" {
				delete(n.Labels, "pool")
			}
		})
	}
}

func TestA3LabelsThatAllNodesLoseUninstallNothing(t *testing.T) {
	objects := func() []runtime.Object {
		var objects []runtime.Object
		for _, name := range []string{"a", "b", "c"} {
			objects = append(objects, simulation.ReadyNode(name, map[string]string{"pool": "x"}))
		}
		return append(objects, spec("kata-1", "one", "nodeSelector", "pool=x"))
	}
	run(t, wellBehaved, objects(), func(c *cluster) {
		c.installed()
		relabel(c, "", "a", "b", "c")
		c.within(time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		if got := c.status("kata-1", "message"); !strings.Contains(got, "3 of 3 nodes that carry the runtime lost the labels") || !strings.Contains(got, "longshore resume --deselected kata") {
			t.Errorf("the spec says %s", got)
		}
		// For hours, and over a restart.
		c.pass(20 * time.Minute)
		c.stop()
		c.start()
		c.pass(20 * time.Minute)
		if !c.allAre(allReady)() || len(c.world.Runs()) != 3 {
			t.Fatalf("%d commands ran, nodes are %v", len(c.world.Runs()), c.nodes())
		}
		relabel(c, "x", "a", "b", "c")
		c.within(time.Minute, "the spec is Ready again", c.phaseIs("kata-1", "Ready"))
		// And now people mean it.
		relabel(c, "", "a", "b", "c")
		c.within(time.Minute, "the spec is Halted again", c.phaseIs("kata-1", "Halted"))
		say(c, "kata-1", observed.AnnotationUninstallDeselected, "1")
		c.within(5*time.Minute, "nothing is left on any node", c.allAre(""))
	})
}

func TestA3AHaltThatCannotBeWrittenDownHoldsAllTheSame(t *testing.T) {
	var objects []runtime.Object
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		objects = append(objects, simulation.ReadyNode(name, map[string]string{"pool": "x"}))
	}
	run(t, wellBehaved, append(objects, spec("kata-1", "one", "nodeSelector", "pool=x", "maxUnavailable", "5")), func(c *cluster) {
		c.installed()
		c.api.Fault(func(w simulation.Write) error {
			if w.Resource == "controllerrevisions" {
				return no(w)
			}
			return nil
		})
		relabel(c, "", "a", "b", "c")
		// The ten minutes within which labels are lost at once are over long before that is written down.
		c.pass(30 * time.Minute)
		if runs := len(c.world.Runs()); runs != 5 || !c.allAre(allReady)() {
			t.Fatalf("%d commands ran, nodes are %v", runs, c.nodes())
		}
		c.api.Fault(nil)
		c.within(10*time.Minute, "the spec is Halted", c.phaseIs("kata-1", "Halted"))
		c.pass(20 * time.Minute)
		if !c.allAre(allReady)() {
			t.Errorf("nodes are %v", c.nodes())
		}
	})
}

func TestA6APauseLastsUntilPeopleResume(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		say(c, "kata-1", observed.AnnotationPause, "INC-4711")
		c.pass(5 * time.Second)
		// As `kubectl replace` does: the data is another, and every annotation is gone.
		simulation.Change(c.api, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: "kata-1"}}, func(cm *corev1.ConfigMap) {
			cm.Annotations, cm.Data["payloadImage"] = nil, "registry.example.com/kata:two"
		})
		c.within(time.Minute, "the spec is Paused", c.phaseIs("kata-1", "Paused"))
		c.pass(time.Hour)
		if !c.allAre(allReady)() {
			t.Errorf("nodes are %v", c.nodes())
		}
		say(c, "kata-1", observed.AnnotationPause, observed.Resumed)
		c.within(5*time.Minute, "every node is at two", c.allAre("kata Ready two HandlersReported ready"))
	})
}

func TestB1ARevisionToGoBackToThatIsGoneEndsNoController(t *testing.T) {
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "payload-config", Namespace: "longshore"}, Data: map[string]string{"daemon.payload": "registry.example.com/kata:mine"}}
	run(t, wellBehaved, threeNodes(spec("kata-1", "one"), config), func(c *cluster) {
		c.within(5*time.Minute, "every node has the payload for development", c.allAre("kata Ready mine HandlersReported ready"))
		mine := c.status("kata-1", "revision")
		change(c, func(data map[string]string) { data["installCmd"] = "[/install, again]" })
		c.within(5*time.Minute, "the next revision is there", func() bool { return c.status("kata-1", "revision") != mine && c.phaseIs("kata-1", "Ready")() })
		say(c, "kata-1", observed.AnnotationRollback, c.status("kata-1", "revision")+" "+mine)
		c.pass(5 * time.Second)
		c.stop()
		for _, rev := range simulation.List(c.api, &appsv1.ControllerRevision{}) {
			if rev.Name == "kata-"+mine {
				c.api.Delete(rev)
			}
		}
		c.start()
		c.pass(time.Minute)
		if got := c.log.like("internal error"); len(got) > 0 {
			t.Errorf("log: %v", got)
		}
		if got := c.status("kata-1", "message"); !strings.Contains(got, "is not there any more, so that nodes stay as they are") {
			t.Errorf("the spec says %s", got)
		}
	})
}

func TestB2AProgressThatMakesNoSenseCausesNoWrites(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		c.installed()
		revision := c.status("kata-1", "revision")
		for _, progress := range []string{
			`{"phase":"Failed","operation":"repair","revision":"` + revision + `"}`, `{"phase":"Failed","revision":"` + revision + `"}`,
			`{"phase":"Ready","revision":"` + revision + `"}`, `{"phase":"Failed","operation":"install"}`, `{"phase":"Failed","operation":"install","revision":"a b"}`,
			`{"phase":"Draining","operation":"install","revision":"` + revision + `","turn":"a b"}`,
		} {
			annotate(c, "a", observed.ProgressKey("kata"), progress)
			c.pass(10 * time.Second)
			since := len(c.api.Writes())
			c.pass(20 * time.Minute)
			if more := c.writes(since); len(more) > 10 {
				t.Errorf("%s: %d writes in 20 minutes", progress, len(more))
			}
		}
	})
}

// no refuses writes as an admission policy does.
func no(w simulation.Write) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: w.Resource}, w.Name, fmt.Errorf("the policy says no"))
}

func TestB3WhatIsRefusedHoldsUpNothingElse(t *testing.T) {
	forNode := func(w simulation.Write) bool { return w.Resource == "nodes" && w.Name == "a" }
	for name, fault := range map[string]func(simulation.Write) error{
		"forbidden": no,
		"invalid": func(w simulation.Write) error {
			return apierrors.NewInvalid(schema.GroupKind{Kind: "Node"}, w.Name, nil)
		},
		"broken": func(simulation.Write) error {
			return apierrors.NewInternalError(fmt.Errorf("failed calling webhook"))
		},
		"too large": func(simulation.Write) error { return apierrors.NewRequestEntityTooLargeError("limit is 3145728") },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(), func(c *cluster) {
				c.api.Fault(func(w simulation.Write) error {
					if forNode(w) {
						return fault(w)
					}
					return nil
				})
				c.api.Create(spec("kata-1", "one"))
				c.within(5*time.Minute, "the other nodes are Ready", func() bool {
					lines := c.nodes()
					return strings.HasSuffix(lines[1], allReady) && strings.HasSuffix(lines[2], allReady)
				})
				c.within(time.Minute, "the spec says why not all are", func() bool {
					return strings.Contains(c.status("kata-1", "warnings"), "WriteRefused: the API server refuses to change Node a")
				})
				if got := c.eventsLike("WriteRefused"); len(got) != 1 {
					t.Errorf("events: %v", got)
				}
				if got := c.status("kata-1", "message"); !strings.Contains(got, "WriteRefused 1") {
					t.Errorf("the spec says %s", got)
				}
				since := len(c.api.Writes())
				c.pass(20 * time.Minute)
				if more := c.writes(since); len(more) > 50 {
					t.Errorf("%d writes in 20 minutes, such as %v", len(more), more[:10])
				}
				c.api.Fault(nil)
				c.within(10*time.Minute, "every node is Ready", c.allAre(allReady))
				c.within(time.Minute, "the spec says nothing more", func() bool { return c.status("kata-1", "warnings") == "" && c.phaseIs("kata-1", "Ready")() })
				if most := c.world.Most(); most > 1 {
					t.Errorf("%d commands ran at once, expected one at most", most)
				}
			})
		})
	}
}

func TestB3ObjectsThatAreRefusedAreSaidOnTheSpec(t *testing.T) {
	for name, c := range map[string]struct {
		hits func(simulation.Write) bool
		says string
	}{
		"DaemonSet":    {func(w simulation.Write) bool { return w.Resource == "daemonsets" && !w.DryRun }, "the API server refuses to change DaemonSet kata-install-"},
		"RuntimeClass": {func(w simulation.Write) bool { return w.Resource == "runtimeclasses" && !w.DryRun }, "the API server refuses to change RuntimeClass kata"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(), func(cl *cluster) {
				cl.api.Fault(func(w simulation.Write) error {
					if c.hits(w) {
						return no(w)
					}
					return nil
				})
				cl.api.Create(spec("kata-1", "one"))
				cl.within(time.Minute, "the spec says it", func() bool { return strings.Contains(cl.status("kata-1", "warnings"), c.says) })
				since := len(cl.api.Writes())
				cl.pass(time.Hour)
				if more := cl.writes(since); len(more) > 50 {
					t.Errorf("%d writes in 20 minutes, such as %v", len(more), more[:10])
				}
				cl.api.Fault(nil)
				cl.within(10*time.Minute, "every node is Ready", cl.allAre(allReady))
			})
		})
	}
}

func TestB4ARevisionThatCannotBeStoredIsInvalid(t *testing.T) {
	run(t, wellBehaved, threeNodes(), func(c *cluster) {
		c.api.Fault(func(w simulation.Write) error {
			if w.Resource == "controllerrevisions" {
				return apierrors.NewForbidden(schema.GroupResource{Resource: w.Resource}, w.Name, fmt.Errorf("exceeded quota: revisions"))
			}
			return nil
		})
		c.api.Create(spec("kata-1", "one"))
		c.within(time.Minute, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
		if got := c.status("kata-1", "message"); !strings.Contains(got, "exceeded quota: revisions") {
			t.Errorf("the spec says %s", got)
		}
		c.api.Fault(nil)
		c.within(5*time.Minute, "every node is Ready", c.allAre(allReady))
	})
}

func TestB5WhatTheAPIServerRefusesForGoodIsInvalid(t *testing.T) {
	for name, answer := range map[string]error{
		"conflict": apierrors.NewConflict(schema.GroupResource{Resource: "daemonsets"}, "x", fmt.Errorf("uid mismatch")),
		"broken":   apierrors.NewInternalError(fmt.Errorf("failed to create typed patch object: duplicate entries")),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
				c.installed()
				tries := 0
				c.api.Fault(func(w simulation.Write) error {
					if w.DryRun {
						tries++
						return answer
					}
					return nil
				})
				change(c, func(data map[string]string) { data["payloadImage"] = "registry.example.com/kata:two" })
				c.within(time.Minute, "the spec is Invalid", c.phaseIs("kata-1", "Invalid"))
				c.pass(20 * time.Minute)
				if tries > 150 {
					t.Errorf("it was asked %d times in 20 minutes", tries)
				}
				if !c.allAre(allReady)() {
					t.Errorf("nodes are %v", c.nodes())
				}
			})
		})
	}
}

func TestB6ATurnOfANodeThatMayBeThereHoldsUpNobodyElse(t *testing.T) {
	slow := func(r simulation.Run) simulation.Result {
		result := wellBehaved(r)
		result.Takes = time.Minute
		return result
	}
	run(t, slow, threeNodes(spec("kata-1", "one", "maxUnavailable", "2")), func(c *cluster) {
		c.within(time.Minute, "two nodes are under way", func() bool { return len(c.turns()) == 2 })
		c.pass(10 * time.Second)
		c.api.Kube.PrependReactor("list", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
			// What is asked past the caches, and not the list before a watch.
			list, ok := a.(clienttesting.ListActionImpl)
			return ok && list.ListOptions.ResourceVersion == "" && list.ListOptions.Limit > 0, nil, fmt.Errorf("the store does not answer")
		})
		c.api.Delete(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
		c.within(10*time.Minute, "the nodes that are there are Ready", c.allAre(allReady))
		c.within(time.Minute, "only the turn of the node is left that may be there", func() bool { return len(c.turns()) == 1 })
	})
}

// bugs are ports that fail as code does that has a bug, when they are used for one runtime, or for what belongs to none.
type bugs struct {
	controller.Ports
	stage string
}

func (b *bugs) in(stage, about string) {
	if b.stage == stage && strings.Contains(about, "gvisor") {
		panic("a bug in " + stage)
	}
}

func (b *bugs) Node(ctx context.Context, n *observed.Node, tr observed.Transition) error {
	b.in("node", tr.Runtime)
	return b.Rollout.Node(ctx, n, tr)
}

func (b *bugs) Turns(ctx context.Context, before observed.Turns, booked []observed.Turn) error {
	return b.Rollout.Turns(ctx, before, booked)
}

func (b *bugs) DaemonSet(ctx context.Context, o *appsv1.DaemonSet, opts metav1.PatchOptions) error {
	if len(opts.DryRun) > 0 {
		b.in("check", o.Name)
	}
	b.in("DaemonSet", o.Name)
	return b.Objects.DaemonSet(ctx, o, opts)
}

func (b *bugs) RuntimeClass(ctx context.Context, o *nodev1.RuntimeClass, opts metav1.PatchOptions) error {
	if len(opts.DryRun) == 0 {
		b.in("RuntimeClass", o.Name)
	}
	return b.Objects.RuntimeClass(ctx, o, opts)
}

func (b *bugs) Status(ctx context.Context, s *observed.Spec, annotations map[string]string) error {
	b.in("status", s.Name)
	return b.Ports.Status.Status(ctx, s, annotations)
}

func (b *bugs) CreateRevision(ctx context.Context, o *appsv1.ControllerRevision) error {
	b.in("revision", o.Name)
	return b.Revisions.CreateRevision(ctx, o)
}

func (b *bugs) MarkRevision(ctx context.Context, before *observed.Revision, number int64, annotations map[string]string) error {
	b.in("mark", before.Name)
	return b.Revisions.MarkRevision(ctx, before, number, annotations)
}

func (b *bugs) Delete(ctx context.Context, kind, name string, uid types.UID) error {
	b.in("delete", name)
	return b.Objects.Delete(ctx, kind, name, uid)
}

func (b *bugs) Finalizers(ctx context.Context, s *observed.Spec, want []string) error {
	b.in("finalizers", s.Name)
	return b.Finalizer.Finalizers(ctx, s, want)
}

func (b *bugs) Look(context.Context, []string) error { panic("a bug in watching pods") }

func (b *bugs) DoneLabels(context.Context, string) error { panic("a bug in done labels") }

func (b *bugs) PullSecret(context.Context, []string, observed.Hidden, observed.Hidden) error {
	panic("a bug in the pull secret")
}

func TestAPanicInOneStageOfAPassStopsNothingElse(t *testing.T) {
	for _, stage := range []string{"node", "check", "DaemonSet", "RuntimeClass", "status", "revision", "mark", "finalizers", "watch pods", "pull secret"} {
		t.Run(stage, func(t *testing.T) {
			run(t, wellBehaved, threeNodes(), func(c *cluster) {
				c.stop()
				c.ports = func(p *controller.Ports) {
					b := &bugs{Ports: *p, stage: stage}
					switch p.Rollout, p.Objects, p.Status, p.Revisions, p.Finalizer = b, b, b, b, b; stage {
					case "watch pods":
						p.Sight = b
					case "pull secret":
						p.Pull = b
					}
				}
				c.start()
				other := spec("gvisor-1", "one")
				other.Labels[observed.LabelRuntime] = "gvisor"
				other.Data["runtimeClasses"], other.Data["deletionPolicy"] = "[{name: gvisor, handler: gvisor}]", "Foreground"
				c.api.Create(other)
				c.api.Create(spec("kata-1", "one"))
				c.within(10*time.Minute, "the other runtime is installed", func() bool {
					return strings.Count(strings.Join(c.nodes(), "\n"), allReady) == 3 && c.phaseIs("kata-1", "Ready")()
				})
				if got := c.log.like("internal error; please report"); len(got) == 0 || !strings.Contains(got[0], "fleet_test.go") {
					t.Errorf("the log has no stack of it: %.300v", got)
				}
				ofRuntime := stage != "status" && stage != "watch pods" && stage != "pull secret"
				if got := c.status("gvisor-1", "message") + c.status("gvisor-1", "warnings"); ofRuntime && stage != "mark" && !strings.Contains(got, "internal error") {
					t.Errorf("the spec of the runtime says %s", got)
				}
				if got := c.eventsLike("InternalError"); ofRuntime && len(got) == 0 {
					t.Errorf("people are told nothing: %v", c.eventsLike("gvisor"))
				}
			})
		})
	}
}
