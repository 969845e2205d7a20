package status

import (
	"fmt"
	"strings"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/spec"
)

// PoolReport is how one pool stands.
type PoolReport struct {
	Name string `json:"name"`
	// ConfigMap is the name of the ConfigMap that describes the pool.
	ConfigMap string `json:"configMap"`
	// Phase is Ready where the pool is in force, Paused where that says so, and Invalid where what the ConfigMap says is not.
	Phase   Phase  `json:"phase"`
	Message string `json:"message"`
	// Nodes are in the pool, Used of them are out of service because of Longshore, and Allowed may be, 0 for as many as the runtimes allow.
	Nodes   int `json:"nodes"`
	Used    int `json:"used"`
	Allowed int `json:"allowed,omitempty"`

	// LastGood is what is written down of the pool for the time when it is refused.
	LastGood string `json:"-"`
}

// pools reports on all pools.
func pools(plan *desired.Plan, decision *rollout.Decision) []PoolReport {
	var out []PoolReport
	for i := range plan.Pools {
		p := &plan.Pools[i]
		r := PoolReport{Name: p.Source.Pool, ConfigMap: p.Source.Name, LastGood: p.LastGood}
		for _, sum := range decision.Pools {
			if sum.ConfigMap == p.Source.Name {
				r.Nodes, r.Used, r.Allowed = sum.Nodes, sum.Used, sum.Allowed
			}
		}
		switch {
		case len(p.Errors) > 0 && p.Pool != nil:
			r.Phase, r.Message = Invalid, errorsText(p.Errors)+"; the last good version stays in force: "+poolWords(p.Pool, r.Nodes)
		case len(p.Errors) > 0:
			// What to do comes last: of a long message the end is kept.
			r.Phase, r.Message = Invalid, errorsText(p.Errors)+"; nothing starts on any node while this pool is refused; "+p.Remedy()
		case p.Pool.Paused:
			r.Phase, r.Message = Paused, poolWords(p.Pool, r.Nodes)
		default:
			r.Phase, r.Message = Ready, poolWords(p.Pool, r.Nodes)
		}
		out = append(out, r)
	}
	return out
}

// poolWords says what a pool asks for. How many nodes are out of service is not in it: the ConfigMap would be written with every turn.
func poolWords(p *spec.Pool, nodes int) string {
	words := []string{fmt.Sprintf("%d nodes", nodes)}
	if nodes == 0 {
		words[0] = fmt.Sprintf("no node matches %q", p.NodeSelectorText)
	}
	if p.Paused {
		words = append(words, "nothing begins while the pool is paused")
	}
	if p.MaxUnavailable != nil {
		words = append(words, "at most "+p.MaxUnavailable.String()+" out of service at once")
	}
	if p.MaintenanceWindow != nil {
		words = append(words, "window "+p.MaintenanceWindow.String())
	}
	return strings.Join(words, "; ")
}

// Annotations are the status annotations of the pool's ConfigMap.
func (p *PoolReport) Annotations(s *observed.Spec) map[string]string {
	all := map[string]string{
		observed.SpecPhase:   string(p.Phase),
		observed.SpecMessage: observed.Shorten(p.Message, observed.MaxMessage),
	}
	setSome(all, observed.SpecObservedData, ObservedData(s))
	setSome(all, observed.PoolLastGood, p.LastGood)
	return all
}
