package gitops

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watches "k8s.io/client-go/tools/watch"
)

// touch is one run of a payload's command on a node.
type touch struct {
	runtime, node string
	// set is the DaemonSet of the installer: runtime, step and revision.
	set string
	at  time.Time
}

// touches remembers every run of a command from the first on. Nothing is sampled: it follows a watch of all
// installer pods.
type touches struct {
	mu     sync.Mutex
	seen   map[types.UID]bool
	all    []touch
	broken error
}

// follow begins to watch, until the context ends.
func (r *touches) follow(ctx context.Context, kube kubernetes.Interface) error {
	list, err := kube.CoreV1().Pods(installers).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		r.see(&list.Items[i])
	}
	watcher, err := watches.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return kube.CoreV1().Pods(installers).Watch(ctx, o)
		},
	})
	if err != nil {
		return err
	}
	go func() {
		for event := range watcher.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				r.mu.Lock()
				r.broken = fmt.Errorf("the watch of installer pods broke: %s %v", event.Type, event.Object)
				r.mu.Unlock()
				return
			}
			r.see(pod)
		}
	}()
	return nil
}

func (r *touches) see(pod *corev1.Pod) {
	if pod.Labels[runtimeOf] == "" || !commandRan(pod) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[types.UID]bool{}
	}
	if r.seen[pod.UID] {
		return
	}
	r.seen[pod.UID] = true
	r.all = append(r.all, touch{
		runtime: pod.Labels[runtimeOf], node: pod.Spec.NodeName, set: pod.Labels[installer], at: time.Now(),
	})
}

// commandRan reports whether a command of the payload has started in the pod.
func commandRan(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
	})
}

// since are the runs for a runtime from that time on, as the number of runs by node and DaemonSet.
func (r *touches) since(runtime string, from time.Time) (map[string]map[string]int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]map[string]int{}
	for _, t := range r.all {
		if t.runtime != runtime || t.at.Before(from) {
			continue
		}
		if counts[t.set] == nil {
			counts[t.set] = map[string]int{}
		}
		counts[t.set][t.node]++
	}
	return counts, r.broken
}

// runs says in words which nodes were touched, e.g. "install on 3 nodes".
func runs(counts map[string]map[string]int, runtime string) string {
	var words []string
	for set, nodes := range counts {
		step, _, _ := strings.Cut(strings.TrimPrefix(set, runtime+"-"), "-")
		word := []string{fmt.Sprintf("%s on %d nodes", step, len(nodes))}
		for node, count := range nodes {
			if count > 1 {
				word = append(word, fmt.Sprintf("(%s %d times)", node, count))
			}
		}
		words = append(words, strings.Join(word, " "))
	}
	slices.Sort(words)
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
