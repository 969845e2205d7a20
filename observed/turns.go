package observed

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// TurnsName is the name of the ConfigMap of booked turns.
const TurnsName = "longshore-turns"

// MaxTurns is how many turns may be booked at once: at most 110 bytes each, in a ConfigMap of at most 1 MiB. One that is too large
// would be refused, and with it the end of any turn.
const MaxTurns = 8000

// Turns are the booked turns: the one place that says which nodes hold a place in a budget. A booking is written before
// anything happens on the node, and goes when the node's place is free again.
type Turns struct {
	// Exists is false where the ConfigMap is not there; then it has to be rebuilt from a consistent list of nodes first.
	Exists          bool      `json:"exists"`
	UID             types.UID `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
	Booked          []Turn    `json:"booked,omitempty"`
	// Problem says which entries could not be read; the next write leaves them out.
	Problem string `json:"problem,omitempty"`
}

// Turn is one node's permission to be worked on for one runtime.
type Turn struct {
	Node      types.UID `json:"node"`
	Runtime   string    `json:"runtime"`
	Revision  string    `json:"revision"`
	Operation Operation `json:"operation"`
	// ID tells this booking from every other one of the same node and runtime: it is the version of the ConfigMap that it was added to.
	// The progress that is written under a booking repeats it.
	ID string `json:"id,omitempty"`
}

// Compare orders turns by node, then runtime.
func (t Turn) Compare(other Turn) int {
	return cmp.Or(cmp.Compare(t.Node, other.Node), cmp.Compare(t.Runtime, other.Runtime))
}

// ParseTurns reads the ConfigMap's data: a key a node uid, a line a runtime: `<runtime> <revision> <operation> <id>`, each
// runtime once. A line that people wrote may lack the id.
// Lines that cannot be read are named in the error; the others are returned all the same.
func ParseTurns(data map[string]string) ([]Turn, error) {
	var turns []Turn
	var bad []string
	for _, uid := range slices.Sorted(maps.Keys(data)) {
		first := len(turns)
		for line := range strings.Lines(data[uid]) {
			words := strings.Fields(line)
			if len(words) < 3 || len(words) > 4 || (words[2] != string(Install) && words[2] != string(Uninstall)) {
				bad = append(bad, fmt.Sprintf("%s: %q", uid, strings.TrimSpace(line)))
				continue
			}
			turn := Turn{Node: types.UID(uid), Runtime: words[0], Revision: words[1], Operation: Operation(words[2])}
			if len(words) == 4 {
				turn.ID = words[3]
			}
			if slices.ContainsFunc(turns[first:], func(t Turn) bool { return t.Compare(turn) == 0 }) {
				// A second turn of the same runtime would count as a second place in the budget.
				bad = append(bad, fmt.Sprintf("%s: %q", uid, strings.TrimSpace(line)))
				continue
			}
			turns = append(turns, turn)
		}
	}
	slices.SortFunc(turns, Turn.Compare)
	if len(bad) > 0 {
		return turns, fmt.Errorf("turns that cannot be read, expected `<runtime> <revision> install|uninstall <id>`: %s", strings.Join(bad, "; "))
	}
	return turns, nil
}

// FormatTurns is the data of the ConfigMap for these turns.
func FormatTurns(turns []Turn) map[string]string {
	sorted := slices.SortedFunc(slices.Values(turns), Turn.Compare)
	data := map[string]string{}
	for _, t := range sorted {
		line := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", t.Runtime, t.Revision, t.Operation, t.ID))
		if before, ok := data[string(t.Node)]; ok {
			line = before + "\n" + line
		}
		data[string(t.Node)] = line
	}
	return data
}
