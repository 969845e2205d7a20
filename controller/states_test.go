package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/status"
)

// statesFile names a file that every state of every spec and pool of all tests is appended to, a line each: the health checks for Argo CD and
// Flux are judged by them (`make verdicts`).
const statesFile = "LONGSHORE_STATES"

// state is one state of a ConfigMap, with whether its status speaks of other data.
type state struct {
	Stale  bool              `json:"stale"`
	Object *corev1.ConfigMap `json:"object"`
}

// stateOf is the state of a spec or pool as it is now.
func stateOf(cm *corev1.ConfigMap) state {
	object := cm.DeepCopy()
	object.APIVersion, object.Kind = "v1", "ConfigMap"
	want := status.ObservedData(&observed.Spec{Runtime: cm.Labels[observed.LabelRuntime], Pool: cm.Labels[observed.LabelPool], Data: cm.Data, BinaryData: cm.BinaryData})
	return state{Stale: cm.Annotations[observed.SpecObservedData] != want, Object: object}
}

// watchStates calls a function with every state of every spec and pool until the context ends.
func (c *cluster) watchStates(ctx context.Context, see func(state)) {
	events, err := c.api.Kube.CoreV1().ConfigMaps("longshore").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Error(err)
		return
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events.ResultChan():
			cm, ok := e.Object.(*corev1.ConfigMap)
			if ok && (cm.Labels[observed.LabelRuntime] != "" || cm.Labels[observed.LabelPool] != "") {
				see(stateOf(cm))
			}
		}
	}
}

var statesLock sync.Mutex

// saveStates appends every state to the file, if the environment names one.
func (c *cluster) saveStates(ctx context.Context) {
	name := os.Getenv(statesFile)
	if name == "" {
		return
	}
	c.watchStates(ctx, func(s state) {
		statesLock.Lock()
		defer statesLock.Unlock()
		file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			c.t.Error(err)
			return
		}
		if err := errors.Join(json.NewEncoder(file).Encode(s), file.Close()); err != nil {
			c.t.Error(err)
		}
	})
}

// TestAStatusNeverMixesOldAndNew edits a spec in a rollout and after it. As soon as a status speaks of the new data, revision and progress do so
// as well: no node has what nobody installed yet.
func TestAStatusNeverMixesOldAndNew(t *testing.T) {
	run(t, wellBehaved, threeNodes(spec("kata-1", "one")), func(c *cluster) {
		ctx, cancel := context.WithCancel(c.t.Context())
		var wg sync.WaitGroup
		var seen []*corev1.ConfigMap
		wg.Go(func() {
			c.watchStates(ctx, func(s state) {
				if !s.Stale {
					seen = append(seen, s.Object)
				}
			})
		})
		c.installed()
		for i, tag := range []string{"two", "three", "one"} {
			change(c, func(d map[string]string) { d["payloadImage"] = "registry.example.com/kata:" + tag })
			if i == 1 {
				// Another edit while the rollout of this one is half done.
				c.within(time.Minute, "a node is done", func() bool { return strings.HasPrefix(c.status("kata-1", "progress"), "1/") })
				continue
			}
			c.within(5*time.Second, "the rollout begins", c.phaseIs("kata-1", "Progressing"))
			c.within(5*time.Minute, "the spec is Ready", c.phaseIs("kata-1", "Ready"))
		}
		cancel()
		wg.Wait()
		checkStates(c.t, seen)
	})
}

// checkStates holds that the states of a spec that are about the same payload have one revision, and a progress that never falls.
func checkStates(t *testing.T, seen []*corev1.ConfigMap) {
	t.Helper()
	image, revision, before := "", "", 0
	for _, cm := range seen {
		done, _, _ := strings.Cut(cm.Annotations[observed.SpecProgress], "/")
		count, err := strconv.Atoi(done)
		if err != nil {
			t.Fatalf("progress %q", cm.Annotations[observed.SpecProgress])
		}
		what := fmt.Sprintf("%s: revision %s, progress %s", cm.Data["payloadImage"], cm.Annotations[observed.SpecRevision], cm.Annotations[observed.SpecProgress])
		switch {
		case cm.Data["payloadImage"] != image:
			if image != "" && cm.Annotations[observed.SpecRevision] == revision {
				t.Errorf("%s: the revision is that of %s", what, image)
			}
			image, revision, before = cm.Data["payloadImage"], cm.Annotations[observed.SpecRevision], 0
		case cm.Annotations[observed.SpecRevision] != revision:
			t.Errorf("%s: the revision was %s", what, revision)
		}
		if count < before {
			t.Errorf("%s: it was %d", what, before)
		}
		if before == 0 && count == 3 {
			t.Errorf("%s: no node was done", what)
		}
		before = count
	}
	if len(seen) < 10 {
		t.Errorf("only %d states were seen", len(seen))
	}
}
