package status

import (
	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
)

// PoolReport is how one pool stands.
type PoolReport struct {
	Name string `json:"name"`
	// ConfigMap is the name of the ConfigMap that describes the pool.
	ConfigMap string `json:"configMap"`
	Phase     Phase  `json:"phase"`
	Message   string `json:"message"`
}

// pools reports on the pools that are refused; as long as pools are not supported these are all.
func pools(plan *desired.Plan) []PoolReport {
	var out []PoolReport
	for i := range plan.Pools {
		p := &plan.Pools[i]
		if len(p.Errors) == 0 {
			continue
		}
		// What to do comes last: of a long message the end is kept.
		message := errorsText(p.Errors) + "; nothing starts on any node while this pool is refused; " + p.Remedy()
		out = append(out, PoolReport{Name: p.Source.Pool, ConfigMap: p.Source.Name, Phase: Invalid, Message: message})
	}
	return out
}

// Annotations are the status annotations of the pool's ConfigMap.
func (p *PoolReport) Annotations(data map[string]string) map[string]string {
	return map[string]string{
		observed.SpecPhase:        string(p.Phase),
		observed.SpecMessage:      observed.Shorten(p.Message, observed.MaxMessage),
		observed.SpecObservedData: ObservedData(data),
	}
}
