package observed

import "k8s.io/apimachinery/pkg/types"

// PoolsName is the name of the ConfigMap that pools are remembered in, beside the turns.
const PoolsName = "longshore-pools"

// MaxPoolMemory is how many bytes may be remembered of pools, as [PoolMemoryBytes] counts them. A ConfigMap of more than 1 MiB would be refused, and with
// it everything else that is to be remembered.
const MaxPoolMemory = 1_000_000

// PoolMemory is what is remembered of pools for the time when they are refused. It stands where nobody's `kubectl replace` of a pool reaches it.
type PoolMemory struct {
	// Exists is false where the ConfigMap is not there.
	Exists          bool      `json:"exists"`
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	// Data is the last valid data of each pool, as JSON, by the name of its ConfigMap.
	Data map[string]string `json:"data,omitempty"`
}

// Of is what is remembered of a pool, "" for nothing. A memory that nobody has read has nothing.
func (m *PoolMemory) Of(name string) string {
	if m == nil {
		return ""
	}
	return m.Data[name]
}

// PoolMemoryBytes is how much an entry takes. Its name stands in the ConfigMap twice: the API server notes who wrote it.
func PoolMemoryBytes(name, text string) int { return 2*len(name) + len(text) + 8 }
