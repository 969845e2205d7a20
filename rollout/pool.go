package rollout

import (
	"fmt"

	"longshore.dev/longshore/desired"
)

// closedBy says why nothing starts on any node, "" if it may: a pool that is not valid might be there to protect just the node whose turn
// it is.
func closedBy(pools []desired.Pool) string {
	var first *desired.Pool
	more := 0
	for i := range pools {
		switch {
		case len(pools[i].Errors) == 0:
		case first == nil:
			first = &pools[i]
		default:
			more++
		}
	}
	if first == nil {
		return ""
	}
	text := fmt.Sprintf("nothing starts on any node while the pool in ConfigMap %q is refused (%s); %s", first.Source.Name, first.Errors[0], first.Remedy())
	if more > 0 {
		text += fmt.Sprintf("; and %d more pools", more)
	}
	return text
}
