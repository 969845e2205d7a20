package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"longshore.dev/longshore/observed"
)

// spoken is what people said on a cluster, and what they were told.
type spoken struct {
	t    *testing.T
	kube *fake.Clientset
	o    *peopleOptions
}

func people(t *testing.T) *spoken {
	t.Helper()
	return &spoken{t: t, kube: fake.NewClientset(newCluster(t).objects...), o: &peopleOptions{connection: connection{namespace: "longshore", system: "longshore-system"}}}
}

func (s *spoken) say(do func(*person, context.Context) error, args ...string) (string, error) {
	s.t.Helper()
	snap, err := s.o.once(s.t.Context(), s.kube)
	if err != nil {
		s.t.Fatal(err)
	}
	snap.Time = noon
	var out bytes.Buffer
	p, err := newPerson(s.o, s.kube, lookAt(snap), args, &out)
	if err != nil {
		return "", err
	}
	err = do(p, s.t.Context())
	return out.String(), err
}

func (s *spoken) spec() *corev1.ConfigMap {
	s.t.Helper()
	cm, err := s.kube.CoreV1().ConfigMaps("longshore").Get(s.t.Context(), "kata", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return cm
}

// data is what the newest ControllerRevision remembers of the spec.
func (s *spoken) data() map[string]string {
	s.t.Helper()
	all, err := s.kube.AppsV1().ControllerRevisions("longshore").List(s.t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) != 1 {
		s.t.Fatalf("%d revisions, %v", len(all.Items), err)
	}
	var data map[string]string
	if err := json.Unmarshal([]byte(all.Items[0].Annotations[observed.AnnotationSpec]), &data); err != nil {
		s.t.Fatal(err)
	}
	return data
}

// mark changes an annotation of the newest ControllerRevision.
func (s *spoken) mark(key, value string) {
	s.t.Helper()
	all, err := s.kube.AppsV1().ControllerRevisions("longshore").List(s.t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) != 1 {
		s.t.Fatalf("%d revisions, %v", len(all.Items), err)
	}
	all.Items[0].Annotations[key] = value
	if _, err := s.kube.AppsV1().ControllerRevisions("longshore").Update(s.t.Context(), &all.Items[0], metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func wantSaid(t *testing.T, got string, err error, want string) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("people were told %q, %v, expected %q", got, err, want)
	}
}

func TestAPauseIsAnAnnotationAndEndsWhereItWasMade(t *testing.T) {
	s := people(t)
	out, err := s.say((*person).resume, "kata")
	wantSaid(t, out, err, "runtime \"kata\" is not paused\n")
	s.o.reason = "INC-4711"
	out, err = s.say((*person).pause, "kata")
	wantSaid(t, out, err, "runtime \"kata\" is paused: no further node begins, nodes under way finish. To go on: longshore resume kata\n")
	if got := s.spec().Annotations[observed.AnnotationPause]; got != "INC-4711" {
		t.Errorf("the annotation is %q", got)
	}
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, "runtime \"kata\" goes on\n")
	if got, there := s.spec().Annotations[observed.AnnotationPause]; there {
		t.Errorf("the annotation is still there: %q", got)
	}
	// One that was made on an earlier ConfigMap is ended on this one.
	s.mark(observed.AnnotationPause, observed.Pause{Reason: "INC-4711", On: "an earlier one"}.Text())
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, "runtime \"kata\" goes on\n")
	if got := s.spec().Annotations[observed.AnnotationPause]; got != observed.Resumed {
		t.Errorf("the annotation is %q", got)
	}
	s.o.reason = "false"
	if _, err := s.say((*person).pause, "kata"); err == nil || exitCode(err) != 2 {
		t.Errorf("a reason that ends pauses was taken: %v", err)
	}
}

func TestARetryIsOfTheNodesThatAreNamedOrOfAllThatFailed(t *testing.T) {
	s := people(t)
	retries := func() string {
		nodes, err := s.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i := range nodes.Items {
			if nodes.Items[i].Annotations[observed.RetryKey("kata")] != "" {
				names = append(names, nodes.Items[i].Name)
			}
		}
		return strings.Join(names, " ")
	}
	out, err := s.say((*person).retry, "kata")
	wantSaid(t, out, err, "runtime \"kata\" is tried again on node c\n")
	if got := retries(); got != "c" {
		t.Errorf("asked for are %s", got)
	}
	out, err = s.say((*person).retry, "kata", "e")
	wantSaid(t, out, err, "runtime \"kata\" is tried again on node e\n")
	if _, err := s.say((*person).retry, "kata", "nowhere"); err == nil || err.Error() != `node "nowhere": the cluster has no node of that name` {
		t.Errorf("a node that is not there: %v", err)
	}
	if _, err := s.say((*person).retry, "gvisor"); err == nil || !strings.HasPrefix(err.Error(), `runtime "gvisor": no spec`) {
		t.Errorf("a runtime that is not there: %v", err)
	}
}

func TestARevisionThatIsGivenUpIsTriedAgainAndARollbackTakenBack(t *testing.T) {
	s := people(t)
	if _, err := s.say((*person).rollback, "kata"); err == nil || !strings.Contains(err.Error(), "has no revision before") {
		t.Errorf("with one revision a rollback is %v", err)
	}
	s.o.to = "a000000000"
	if _, err := s.say((*person).rollback, "kata"); err == nil || err.Error() != `--to: runtime "kata" has no revision "a000000000"; longshore history kata lists those that there are` {
		t.Errorf("to a revision that is not there: %v", err)
	}
	revision := newCluster(t).revision
	s.mark(observed.AnnotationBad, observed.Bad{To: "a000000000", Reason: "people asked for that", Time: noon}.Text())
	cm := s.spec()
	cm.Annotations = map[string]string{observed.AnnotationRollback: revision + " a000000000"}
	if _, err := s.kube.CoreV1().ConfigMaps("longshore").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	out, err := s.say((*person).retry, "kata")
	wantSaid(t, out, err, "revision "+revision+" of runtime \"kata\" is tried again\nruntime \"kata\" is tried again on node c\n")
	if got := s.spec().Annotations; got[observed.AnnotationRetry] == "" || got[observed.AnnotationRollback] != "" {
		t.Errorf("annotations are %v", got)
	}
}

func TestADryRunAsksTheAPIServerAndSaysThatItWasOne(t *testing.T) {
	s := people(t)
	s.o.dryRun = true
	out, err := s.say((*person).pause, "kata")
	if err != nil || !strings.HasSuffix(out, "(dry run: nothing was changed)\n") {
		t.Errorf("people were told %q, %v", out, err)
	}
	if got := s.o.patchOptions(); len(got.DryRun) != 1 || got.FieldManager != "longshore-cli" {
		t.Errorf("patches are made with %+v", got)
	}
}

func TestHistoryTellsWhatNodesShouldCarryAndWhatIsGivenUp(t *testing.T) {
	s := people(t)
	look := func() string {
		snap, err := s.o.once(t.Context(), s.kube)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := history(lookAt(snap), "kata")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printHistory(&out, "table", entries, noon); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	revision := newCluster(t).revision
	head := "REVISION    NUMBER  AGE  NODES  PAYLOAD                      REMARKS\n"
	if got := look(); got != head+revision+"  1       60m  3      registry.example.com/kata:1  what nodes should carry\n" {
		t.Errorf("the history is\n%s", got)
	}
	s.mark(observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
	if got := look(); got != head+revision+"  1       60m  3      registry.example.com/kata:1  given up: 2 nodes failed\n" {
		t.Errorf("the history is\n%s", got)
	}
}

func TestWaitEndsWhenItIsSoWhenItNeverWillBeAndWhenItIsLate(t *testing.T) {
	wait := func(change func(*spoken), what string, runtimes ...string) (string, error) {
		s := people(t)
		change(s)
		snap, err := s.o.once(t.Context(), s.kube)
		if err != nil {
			t.Fatal(err)
		}
		snap.Time = noon
		o := &waitOptions{what: what, timeout: time.Nanosecond}
		goal, err := o.goal()
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = (&waiter{waitOptions: o, eyes: still{snap}, goal: goal, said: map[string]string{}, out: &out}).run(t.Context(), runtimes)
		return out.String(), err
	}
	nothing := func(*spoken) {}
	alone := func(s *spoken) {
		for _, name := range []string{"b", "c", "d", "e"} {
			if err := s.kube.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name     string
		change   func(*spoken)
		what     string
		runtime  string
		out, err string
	}{
		{"not yet", nothing, "ready", "kata", "runtime kata: Progressing: 1 of 5 nodes done", "not ready after 1ns: kata"},
		{"done", alone, "ready", "kata", "runtime kata: 1 of 1 nodes done\n", ""},
		{"not there", nothing, "ready", "gvisor", "runtime gvisor: there is no spec\n", "not ready after 1ns: gvisor"},
		{"gone", nothing, "uninstalled", "gvisor", "runtime gvisor: nothing is left on any node\n", ""},
		{"not gone", nothing, "uninstalled", "kata", "runtime kata: there is a spec, ConfigMap \"kata\"\n", "not uninstalled after 1ns: kata"},
		{
			"orphaned", func(s *spoken) {
				if err := s.kube.CoreV1().ConfigMaps("longshore").Delete(t.Context(), "kata", metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				data := maps.Clone(s.data())
				data["deletionPolicy"] = "Orphan"
				text, err := json.Marshal(data)
				if err != nil {
					t.Fatal(err)
				}
				s.mark(observed.AnnotationSpec, string(text))
				s.mark(observed.AnnotationVanished, noon.Add(-time.Hour).Format(time.RFC3339))
			}, "uninstalled", "kata", "runtime kata: Ready: the spec is gone since 2026-11-20T11:00:00Z; 3 nodes keep the runtime", `runtime "kata" will not be uninstalled without people: Ready: `,
		},
		{"no such wave", nothing, "wave=canary", "kata", "runtime kata: the spec has no wave \"canary\"", `runtime "kata" will not be wave=canary without people: the spec has no wave "canary"`},
		{
			"given up", func(s *spoken) {
				alone(s)
				s.mark(observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
			}, "ready", "kata", "runtime kata: Halted: revision ", `runtime "kata" will not be ready without people: Halted: revision `,
		},
		{"nonsense", nothing, "wave=", "kata", "", `--for: "wave=" is not one of ready, uninstalled, wave=NAME`},
	} {
		out, err := wait(c.change, c.what, c.runtime)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if !strings.HasPrefix(out, c.out) || !strings.HasPrefix(said, c.err) || (said == "") != (c.err == "") {
			t.Errorf("%s: told %q and ended with %q, expected %q and %q", c.name, out, said, c.out, c.err)
		}
	}
}

func TestADeletedSpecIsLetGoByHand(t *testing.T) {
	s := people(t)
	wantRelease := func(want string) {
		t.Helper()
		got, err := s.say((*person).release, "kata")
		wantSaid(t, got, err, want)
	}
	wantRelease("no finalizer of Longshore holds a spec of runtime \"kata\"\n")
	hold := func(change func(*corev1.ConfigMap)) {
		t.Helper()
		cm := s.spec()
		cm.Finalizers = []string{"example.com/mine", observed.Finalizer}
		change(cm)
		if _, err := s.kube.CoreV1().ConfigMaps("longshore").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	hold(func(*corev1.ConfigMap) {})
	wantRelease("ConfigMap \"kata\" is not deleted; its finalizer does nothing before it is\n")
	hold(func(cm *corev1.ConfigMap) { cm.DeletionTimestamp = &metav1.Time{Time: noon} })
	wantRelease("ConfigMap \"kata\" is let go; 3 nodes still carry the runtime\n")
	if got := s.spec().Finalizers; len(got) != 1 || got[0] != "example.com/mine" {
		t.Errorf("finalizers %v", got)
	}
}
