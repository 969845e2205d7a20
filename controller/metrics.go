package controller

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// Metrics are the controller's own metrics.
type Metrics struct {
	passes   *prometheus.CounterVec
	duration prometheus.Histogram
	moves    *prometheus.CounterVec
	nodes    *prometheus.GaugeVec
	turns    *prometheus.GaugeVec
	specs    *prometheus.GaugeVec
	done     *prometheus.GaugeVec
	tainted  *prometheus.GaugeVec

	operations *prometheus.CounterVec
	evictions  *prometheus.CounterVec
	refused    *prometheus.CounterVec
	panics     *prometheus.CounterVec
	steps      *prometheus.HistogramVec
	stale      *prometheus.GaugeVec

	// soaking remembers since when nodes are watched, by runtime and node, to tell when they count.
	soaking map[[2]string]time.Time

	mu sync.Mutex
	// opened is when the gate of a step opened that is not the first one of its operation, by runtime and node; zero while none is open. A node's
	// progress only tells when the operation began.
	opened map[[2]string]time.Time
	// since is when a configuration was first seen not to be in force, by kind and name.
	since map[[2]string]time.Time
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		soaking: map[[2]string]time.Time{}, since: map[[2]string]time.Time{}, opened: map[[2]string]time.Time{},
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_passes_total", Help: "Passes of the loop, by result (ok, error).",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "longshore_pass_duration_seconds", Help: "How long a pass takes, writes included.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_node_moves_total", Help: "Transitions of nodes, by move and result (done, outrun, refused, error).",
		}, []string{"move", "result"}),
		nodes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_nodes", Help: "Nodes that a runtime selects or that carry it, by phase.",
		}, []string{"runtime", "phase"}),
		turns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_turns", Help: "Places of a runtime's budget: in use and allowed.",
		}, []string{"runtime", "state"}),
		specs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_runtime_phase", Help: "1 for the phase that a runtime is in.",
		}, []string{"runtime", "phase"}),
		done: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_nodes_done", Help: "Nodes that are Ready at the goal and were watched for long enough.",
		}, []string{"runtime"}),
		tainted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_runtime_tainted", Help: "1 while the payload in force is that of payload-config and not the spec's.",
		}, []string{"runtime"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_operations_total", Help: "Operations on nodes that ended, by result (done, failed).",
		}, []string{"runtime", "operation", "result"}),
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_evictions_total", Help: "Evictions of pods that were in the way of an operation, by result (done, refused, error).",
		}, []string{"runtime", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_writes_refused_total", Help: "Writes that the API server refused and that are tried again later, by kind of object.",
		}, []string{"runtime", "kind"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "longshore_internal_errors_total", Help: "Panics that were caught; the runtime is left alone, or the pass is tried again where it concerns none.",
		}, []string{"runtime"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "longshore_step_duration_seconds", Buckets: prometheus.ExponentialBuckets(1, 2, 12),
			Help: "From the opened gate of a step (pre, install, uninstall, cleanup, post) to its end, or from the result to the end of the watch (soak).",
		}, []string{"runtime", "step", "result"}),
		stale: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "longshore_stale_since_timestamp_seconds", Help: "Since when a configuration (spec, pool, site) is not in force as it stands, in seconds since 1970.",
		}, []string{"kind", "name"}),
	}
	registry.MustRegister(m.passes, m.duration, m.moves, m.nodes, m.turns, m.specs, m.done, m.tainted, m.operations, m.evictions, m.refused, m.panics, m.steps, m.stale)
	return m
}

func (m *Metrics) pass(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.passes.WithLabelValues(result).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *Metrics) move(kind rollout.MoveKind, result string) {
	m.moves.WithLabelValues(string(kind), result).Inc()
}

// The results of operations and steps.
const (
	resultDone   = "done"
	resultFailed = "failed"
)

// stepSoak is the time that an installed node is watched for.
const stepSoak = "soak"

func (m *Metrics) writeRefused(ref observed.ObjectRef) {
	m.refused.WithLabelValues(ref.Runtime, ref.Kind).Inc()
}

func (m *Metrics) panicked(runtime string) { m.panics.WithLabelValues(runtime).Inc() }

func (m *Metrics) evicted(runtime, result string) { m.evictions.WithLabelValues(runtime, result).Inc() }

// moved counts a transition that was written, and the operation or the watch that ended by it.
func (m *Metrics) moved(move *rollout.Move, now time.Time) {
	m.move(move.Kind, "done")
	key := [2]string{move.Runtime, move.Node}
	result := resultDone
	switch move.Kind {
	case rollout.Succeed, rollout.RemoveKeys, rollout.CloseGate:
	case rollout.Fail:
		result = resultFailed
	case rollout.NextStep:
		m.setOpened(key, now)
		return
	case rollout.OpenGate, rollout.Redirect, rollout.Restart:
		m.takeOpened(key)
		return
	default:
		return
	}
	before, err := observed.ParseProgress(move.Before)
	if err != nil {
		// There was none, or nobody knows when it began.
		return
	}
	switch before.Phase {
	case observed.PhaseInstalling, observed.PhaseUninstalling:
		m.stepEnded(move, before, result, now)
		if move.Kind == rollout.CloseGate {
			m.setOpened(key, time.Time{})
			return
		}
		m.operations.WithLabelValues(move.Runtime, string(before.Operation), result).Inc()
	case observed.PhaseReady:
		if result == resultFailed {
			m.steps.WithLabelValues(move.Runtime, stepSoak, result).Observe(now.Sub(before.Since).Seconds())
		}
	default:
	}
}

// stepEnded measures one step. Where all of them are containers of one pod (completion Exit), that is the whole operation, by its name, or by
// the name of the step that failed.
func (m *Metrics) stepEnded(move *rollout.Move, before *observed.Progress, result string, now time.Time) {
	opened, several := m.takeOpened([2]string{move.Runtime, move.Node})
	step := string(before.Operation)
	switch {
	case (several || move.Kind == rollout.CloseGate) && before.Step != "":
		step = before.Step
	case result == resultFailed && move.After != nil && move.After.Step != "":
		step = move.After.Step
	}
	switch {
	case !several:
		opened = before.Since
	case opened.IsZero():
		// It ended before its gate opened.
		return
	}
	m.steps.WithLabelValues(move.Runtime, step, result).Observe(now.Sub(opened).Seconds())
}

func (m *Metrics) setOpened(key [2]string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened[key] = at
}

// takeOpened forgets it as well.
func (m *Metrics) takeOpened(key [2]string) (at time.Time, several bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, several = m.opened[key]
	delete(m.opened, key)
	return at, several
}

func (m *Metrics) report(report *status.Report) {
	m.nodes.Reset()
	m.turns.Reset()
	m.specs.Reset()
	m.done.Reset()
	m.tainted.Reset()
	stale := map[[2]string]bool{}
	soaking := map[[2]string]time.Time{}
	for i := range report.Runtimes {
		r := &report.Runtimes[i]
		m.specs.WithLabelValues(r.Name, string(r.Phase)).Set(1)
		m.turns.WithLabelValues(r.Name, "used").Set(float64(r.BudgetUsed))
		m.turns.WithLabelValues(r.Name, "allowed").Set(float64(r.Budget))
		m.done.WithLabelValues(r.Name).Set(float64(r.Done))
		tainted := 0.0
		if r.Tainted != "" {
			tainted = 1
		}
		m.tainted.WithLabelValues(r.Name).Set(tainted)
		if r.Phase == status.Invalid || r.Phase == status.Conflict {
			stale[[2]string{"spec", r.Name}] = true
		}
		m.begin(r.Name)
		m.reportNodes(r, report.Time, soaking)
	}
	for _, p := range report.Pools {
		if p.Phase == status.Invalid {
			stale[[2]string{"pool", p.Name}] = true
		}
	}
	m.soaking = soaking
	m.forgetOpened(report)
	m.staleNow(stale, report.Time)
}

// forgetOpened forgets the nodes that have gone in the middle of an operation.
func (m *Metrics) forgetOpened(report *status.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.opened) == 0 {
		return
	}
	there := map[[2]string]bool{}
	for i := range report.Runtimes {
		r := &report.Runtimes[i]
		for j := range r.Nodes {
			there[[2]string{r.Name, r.Nodes[j].Node}] = true
		}
	}
	maps.DeleteFunc(m.opened, func(key [2]string, _ time.Time) bool { return !there[key] })
}

// begin makes the counters of a runtime start at zero: the first of a kind is not seen as an increase otherwise.
func (m *Metrics) begin(runtime string) {
	for _, operation := range []observed.Operation{observed.Install, observed.Uninstall} {
		m.operations.WithLabelValues(runtime, string(operation), resultDone)
		m.operations.WithLabelValues(runtime, string(operation), resultFailed)
	}
}

// reportNodes counts the nodes of a runtime, and measures the watch of those that count from now on; soaking takes those down that are
// watched still.
func (m *Metrics) reportNodes(r *status.RuntimeReport, now time.Time, soaking map[[2]string]time.Time) {
	phases := map[string]int{}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		phases[n.Phase]++
		key := [2]string{r.Name, n.Node}
		since, watched := m.soaking[key]
		switch {
		case n.Reason == string(rollout.Soaking):
			soaking[key] = n.Since
		case n.Done && watched && since.Equal(n.Since):
			m.steps.WithLabelValues(r.Name, stepSoak, resultDone).Observe(now.Sub(since).Seconds())
		}
	}
	for phase, count := range phases {
		m.nodes.WithLabelValues(r.Name, phase).Set(float64(count))
	}
}

// siteKey is that of the site's component, of which there is one.
var siteKey = [2]string{"site", "longshore-site"}

// SiteRefused says that the site's component as it stands is not in force.
func (m *Metrics) SiteRefused(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.markStale(siteKey, now)
}

// SiteInForce says that the site's component as it stands is in force.
func (m *Metrics) SiteInForce() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.markFresh(siteKey)
}

// staleNow brings the metric of what the report knows up to date. A time is that of the first report that said so.
func (m *Metrics) staleNow(stale map[[2]string]bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.since {
		if key != siteKey && !stale[key] {
			m.markFresh(key)
		}
	}
	for key := range stale {
		m.markStale(key, now)
	}
}

func (m *Metrics) markStale(key [2]string, now time.Time) {
	if _, known := m.since[key]; known {
		return
	}
	m.since[key] = now
	m.stale.WithLabelValues(key[0], key[1]).Set(float64(now.UnixMilli()) / 1000)
}

func (m *Metrics) markFresh(key [2]string) {
	delete(m.since, key)
	m.stale.DeleteLabelValues(key[0], key[1])
}
