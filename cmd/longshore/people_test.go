package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

// spoken is what people said on a cluster, and what they were told.
type spoken struct {
	t    *testing.T
	kube *fake.Clientset
	o    *peopleOptions
	// warned is what stood on stderr the last time.
	warned string
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
	var out, warned bytes.Buffer
	p, err := newPerson(s.o, s.kube, lookAt(snap), args, &environment{stdout: &out, stderr: &warned})
	if err != nil {
		return "", err
	}
	err = do(p, s.t.Context())
	s.warned = warned.String()
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
	var data map[string]string
	if err := json.Unmarshal([]byte(s.newest().Annotations[observed.AnnotationSpec]), &data); err != nil {
		s.t.Fatal(err)
	}
	return data
}

func (s *spoken) newest() *appsv1.ControllerRevision {
	s.t.Helper()
	all, err := s.kube.AppsV1().ControllerRevisions("longshore").List(s.t.Context(), metav1.ListOptions{})
	if err != nil || len(all.Items) == 0 {
		s.t.Fatalf("%d revisions, %v", len(all.Items), err)
	}
	newest := slices.MaxFunc(all.Items, func(a, b appsv1.ControllerRevision) int { return cmp.Compare(a.Revision, b.Revision) })
	return &newest
}

// mark changes an annotation of the newest ControllerRevision.
func (s *spoken) mark(key, value string) {
	s.t.Helper()
	newest := s.newest()
	newest.Annotations[key] = value
	if _, err := s.kube.AppsV1().ControllerRevisions("longshore").Update(s.t.Context(), newest, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// edit changes the spec.
func (s *spoken) edit(change func(*corev1.ConfigMap)) {
	s.t.Helper()
	cm := s.spec()
	if cm.Annotations == nil {
		cm.Annotations = map[string]string{}
	}
	change(cm)
	if _, err := s.kube.CoreV1().ConfigMaps("longshore").Update(s.t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// node changes a node.
func (s *spoken) node(name string, change func(*corev1.Node)) {
	s.t.Helper()
	n, err := s.kube.CoreV1().Nodes().Get(s.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	change(n)
	if _, err := s.kube.CoreV1().Nodes().Update(s.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// progress writes the progress of a node.
func (s *spoken) progress(name string, p observed.Progress) {
	s.t.Helper()
	p.Since = noon.Add(-time.Hour)
	s.node(name, func(n *corev1.Node) { n.Annotations[observed.ProgressKey("kata")] = p.String() })
}

// revision makes another revision from a payload of that name, with marks in pairs, and returns its name.
func (s *spoken) revision(number int64, payload string, marks ...string) string {
	s.t.Helper()
	first := "kata-" + newCluster(s.t).revision
	rev, err := s.kube.AppsV1().ControllerRevisions("longshore").Get(s.t.Context(), first, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	var data map[string]string
	if err := json.Unmarshal([]byte(rev.Annotations[observed.AnnotationSpec]), &data); err != nil {
		s.t.Fatal(err)
	}
	data["payloadImage"] = payload
	parsed, errs := spec.Parse("kata", data, nil)
	if len(errs) > 0 {
		s.t.Fatal(errs.ToAggregate())
	}
	text, err := json.Marshal(data)
	if err != nil {
		s.t.Fatal(err)
	}
	rev = rev.DeepCopy()
	rev.Name, rev.UID, rev.Revision = "kata-"+parsed.Revision(), types.UID(payload), number
	rev.Annotations[observed.AnnotationSpec] = string(text)
	for i := 0; i < len(marks); i += 2 {
		rev.Annotations[marks[i]] = marks[i+1]
	}
	if _, err := s.kube.AppsV1().ControllerRevisions("longshore").Create(s.t.Context(), rev, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	return parsed.Revision()
}

func wantSaid(t *testing.T, got string, err error, want string) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("people were told %q, %v, expected %q", got, err, want)
	}
}

func TestA6APauseIsAnAnnotationAndEndsByAWordOnly(t *testing.T) {
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
	if got := s.spec().Annotations[observed.AnnotationPause]; got != observed.Resumed {
		t.Errorf("A6: a pause was ended with %q", got)
	}
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, "runtime \"kata\" is not paused\n")
	// One that was made on an earlier ConfigMap is ended on this one, and so is one whose annotation was wiped.
	s.edit(func(cm *corev1.ConfigMap) { cm.Annotations = nil })
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
	s.edit(func(cm *corev1.ConfigMap) { cm.Annotations[observed.AnnotationRollback] = revision + " a000000000" })
	out, err := s.say((*person).retry, "kata")
	wantSaid(t, out, err, "revision "+revision+" of runtime \"kata\" is tried again\nruntime \"kata\" is tried again on node c\n")
	if got := s.spec().Annotations; got[observed.AnnotationRetry] == "" || got[observed.AnnotationRollback] != "" {
		t.Errorf("annotations are %v", got)
	}
}

func TestA4ARollbackGoesBackToWhatANodeHasOffered(t *testing.T) {
	const image = "registry.example.com/kata:"
	one := newCluster(t).revision
	for name, c := range map[string]struct {
		// prepare makes revisions besides that of the cluster, which has number 1 and is Ready on node a.
		prepare func(s *spoken) (from, to string)
		refused string
	}{
		"the one before never worked, this one is Ready everywhere": {
			prepare: func(s *spoken) (string, string) { return one, s.revision(0, image+"0") },
			refused: "has no revision before " + one + " that is known to work; the others are TO (no node is known to have offered it); to go back to one of them all the same, name it with --to",
		},
		"the one before is Ready on a node": {
			prepare: func(s *spoken) (string, string) { return s.revision(2, image+"2"), one },
		},
		"what never worked is passed over": {
			prepare: func(s *spoken) (string, string) {
				s.revision(2, image+"2")
				return s.revision(3, image+"3"), one
			},
		},
		"what is given up is passed over, although it worked": {
			prepare: func(s *spoken) (string, string) {
				s.revision(2, image+"2", observed.AnnotationProven, "2026-11-20T11:00:00Z", observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
				return s.revision(3, image+"3"), one
			},
		},
		"a proven one needs no node": {
			prepare: func(s *spoken) (string, string) {
				two := s.revision(2, image+"2", observed.AnnotationProven, "2026-11-20T11:00:00Z")
				return s.revision(3, image+"3"), two
			},
		},
		"a node had it before": {
			prepare: func(s *spoken) (string, string) {
				zero := s.revision(0, image+"0")
				s.progress("a", observed.Progress{Phase: observed.PhaseReady, Operation: observed.Install, Revision: one, Previous: zero})
				return one, zero
			},
		},
		"a node failed after it had offered it": {
			prepare: func(s *spoken) (string, string) {
				two := s.revision(2, image+"2")
				s.progress("c", observed.Progress{Phase: observed.PhaseFailed, Operation: observed.Install, Revision: two, Reason: observed.NotReadyInSoak})
				return s.revision(3, image+"3"), two
			},
		},
		"the only other one is given up": {
			prepare: func(s *spoken) (string, string) {
				return one, s.revision(0, image+"0", observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
			},
			refused: "the others are TO (given up: 2 nodes failed);",
		},
	} {
		s := people(t)
		from, to := c.prepare(s)
		s.edit(func(cm *corev1.ConfigMap) { cm.Data = s.data() })
		out, err := s.say((*person).rollback, "kata")
		value := s.spec().Annotations[observed.AnnotationRollback]
		if c.refused != "" {
			if err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), strings.ReplaceAll(c.refused, "TO", to)) || value != "" {
				t.Errorf("%s: people were told %q, %v, and the annotation is %q", name, out, err, value)
			}
			continue
		}
		want := "runtime \"kata\" goes back from revision " + from + " to " + to + ", within its budget. To have " + from + " tried again: longshore retry kata\n"
		if err != nil || out != want || s.warned != "" {
			t.Errorf("%s: people were told %q, %q, %v, expected %q", name, out, s.warned, err, want)
		}
		if want := from + " " + to + " 2026-11-20T12:00:00Z"; value != want {
			t.Errorf("%s: the annotation is %q, expected %q", name, value, want)
		}
	}
}

func TestA4WhoNamesARevisionIsWarnedAndObeyed(t *testing.T) {
	s := people(t)
	one := newCluster(t).revision
	zero := s.revision(0, "registry.example.com/kata:0", observed.AnnotationBad, observed.Bad{Reason: "2 nodes failed", Time: noon}.Text())
	s.o.to = zero
	out, err := s.say((*person).rollback, "kata")
	wantSaid(t, out, err, "runtime \"kata\" goes back from revision "+one+" to "+zero+", within its budget. To have "+one+" tried again: longshore retry kata\n")
	if want := "warning: revision " + zero + " was given up itself: 2 nodes failed\nwarning: no node is known to have offered revision " + zero + ": it may fail as well\n"; s.warned != want {
		t.Errorf("people were warned %q, expected %q", s.warned, want)
	}
	s.edit(func(cm *corev1.ConfigMap) { cm.Annotations = nil })
	s.o.to = one
	if _, err := s.say((*person).rollback, "kata"); err == nil || err.Error() != "--to: revision "+one+" is the one that the spec asks for" {
		t.Errorf("to what the spec asks for: %v", err)
	}
	s.edit(func(cm *corev1.ConfigMap) { cm.Annotations[observed.AnnotationPause] = "INC-4711" })
	s.mark(observed.AnnotationPause, observed.Pause{Reason: "INC-4711", On: "s"}.Text())
	s.o.to = zero
	if out, err := s.say((*person).rollback, "kata"); err != nil || !strings.HasSuffix(out, "; the runtime is paused, and no node begins before: longshore resume kata\n") {
		t.Errorf("while it is paused people were told %q, %v", out, err)
	}
}

func TestA5WhatASpecThatIsNotInForceHearsIsSaid(t *testing.T) {
	const wrong = `ConfigMap "kata" is Invalid`
	for name, c := range map[string]struct {
		change  func(*spoken)
		refused string
		paused  string
	}{
		"it cannot be read": {
			func(s *spoken) { s.edit(func(cm *corev1.ConfigMap) { cm.Data["soak"] = "a while" }) },
			`runtime "kata" is not rolled back: ` + wrong + `; mend that first: data[soak]: Invalid value: "a while"`,
			`To go on: longshore resume kata. ` + wrong + ` besides, and nothing new of it starts before that is mended: data[soak]: Invalid value: "a while"`,
		},
		"the API server refuses it": {
			func(s *spoken) {
				s.edit(func(cm *corev1.ConfigMap) {
					cm.Data["payloadImage"] = "registry.example.com/kata:2"
					cm.Annotations[observed.SpecPhase], cm.Annotations[observed.SpecMessage] = "Invalid", "the webhook says no"
					cm.Annotations[observed.SpecObservedData] = status.ObservedData(&observed.Spec{Runtime: "kata", Data: cm.Data})
				})
			},
			`runtime "kata" is not rolled back: ` + wrong + `; mend that first: the webhook says no`,
			wrong + ` besides, and nothing new of it starts before that is mended: the webhook says no`,
		},
		"its class has another handler": {
			func(s *spoken) {
				ours := map[string]string{observed.LabelManagedBy: observed.Manager, observed.LabelRuntimeOf: "kata"}
				class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "kata", Labels: ours}, Handler: "other"}
				if _, err := s.kube.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			`; mend that first: data[runtimeClasses][0].handler`,
			wrong + ` besides`,
		},
		"only its payload-config is wrong": {
			func(s *spoken) {
				cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "longshore", Name: observed.PayloadConfigName, UID: "c"}, Data: map[string]string{"kata": "NOT AN IMAGE"}}
				if _, err := s.kube.CoreV1().ConfigMaps("longshore").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			"",
			wrong + ` besides`,
		},
	} {
		s := people(t)
		s.revision(0, "registry.example.com/kata:0", observed.AnnotationProven, "2026-11-20T11:00:00Z")
		c.change(s)
		out, err := s.say((*person).rollback, "kata")
		value := s.spec().Annotations[observed.AnnotationRollback]
		if c.refused != "" && (err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), c.refused) || value != "") {
			t.Errorf("%s: of the rollback people were told %q, %v, and the annotation is %q", name, out, err, value)
		}
		if c.refused == "" && (err != nil || value == "") {
			t.Errorf("%s: of the rollback people were told %q, %v, and the annotation is %q", name, out, err, value)
		}
		s.o.reason = "INC-4711"
		out, err = s.say((*person).pause, "kata")
		if err != nil || !strings.Contains(out, c.paused) || s.spec().Annotations[observed.AnnotationPause] != "INC-4711" {
			t.Errorf("%s: of the pause people were told %q, %v", name, out, err)
		}
	}
}

func TestA3NodesThatLostTheirLabelsAreUninstalledWhenPeopleSaySo(t *testing.T) {
	s := people(t)
	s.o.deselected = true
	refused := func(want string) {
		t.Helper()
		out, err := s.say((*person).resume, "kata")
		if err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("people were told %q, %v, expected %q", out, err, want)
		}
		if value, there := s.spec().Annotations[observed.AnnotationUninstallDeselected]; there {
			t.Errorf("the annotation is %q", value)
		}
	}
	refused(`no node of runtime "kata" lost its labels`)

	// Nodes a, b and c carry the runtime; the selector is edited in spec and memory alike, so that only the labels are news.
	s.edit(func(cm *corev1.ConfigMap) { cm.Data["nodeSelector"] = "use=kata" })
	data, err := json.Marshal(s.spec().Data)
	if err != nil {
		t.Fatal(err)
	}
	s.mark(observed.AnnotationSpec, string(data))
	// Only the controller has watched the labels: what it found is written down.
	s.mark(observed.AnnotationDeselection, observed.Deselection{Halted: desired.HaltedMassDeselection, Nodes: 3}.Text())
	s.node("d", func(n *corev1.Node) { n.Labels["use"] = "kata" })
	said := `runtime "kata" is uninstalled from 3 of 3 nodes that carry it, within its budget: their labels do not match the selector "use=kata"`
	s.o.dryRun = true
	out, err := s.say((*person).resume, "kata")
	wantSaid(t, out, err, said+" (dry run: nothing was changed)\n")
	s.o.dryRun = false
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, said+"\n")
	if got := s.spec().Annotations[observed.AnnotationUninstallDeselected]; got != "2026-11-20T12:00:00Z" {
		t.Errorf("the annotation is %q", got)
	}

	// A pause stays, and to end it has nothing uninstalled.
	s.edit(func(cm *corev1.ConfigMap) { cm.Annotations = map[string]string{observed.AnnotationPause: "INC-4711"} })
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, said+"; the runtime is paused, and no node begins before: longshore resume kata\n")
	if got := s.spec().Annotations[observed.AnnotationPause]; got != "INC-4711" {
		t.Errorf("the pause is %q", got)
	}
	s.edit(func(cm *corev1.ConfigMap) { delete(cm.Annotations, observed.AnnotationUninstallDeselected) })
	s.o.deselected = false
	out, err = s.say((*person).resume, "kata")
	wantSaid(t, out, err, "runtime \"kata\" goes on; it is halted all the same, because 3 nodes lost their labels: longshore resume --deselected kata has them uninstalled\n")
	s.o.deselected = true

	s.mark(observed.AnnotationDeselection, observed.Deselection{Nodes: 3, Time: noon}.Text())
	refused(`no uninstall of runtime "kata" waits for --deselected: that 3 nodes lost their labels was agreed to at 2026-11-20T12:00:00Z`)
	s.mark(observed.AnnotationNothingSelected, "true")
	refused(`runtime "kata": the selector of ConfigMap "kata" was edited and matches no node`)
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

func TestHistoryTellsWhatNodesShouldCarryWhatIsGivenUpAndWhatIsProven(t *testing.T) {
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
	s.mark(observed.AnnotationProven, "2026-11-20T11:30:00Z")
	if got := look(); got != head+revision+"  1       60m  3      registry.example.com/kata:1  given up: 2 nodes failed; proven\n" {
		t.Errorf("the history is\n%s", got)
	}
	snap, err := s.o.once(t.Context(), s.kube)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := history(lookAt(snap), "kata")
	if err != nil || len(entries) != 1 || !entries[0].Proven {
		t.Errorf("the entries are %+v, %v", entries, err)
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
