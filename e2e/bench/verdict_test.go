package bench

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// written are the controllers' writes in the audit log, by node: those done, those refused, and those whose writer was killed before there was an answer, which
// may have been done or not.
type written struct {
	done, refused, unanswered map[string]int
	// codes count those that were not done, by the code that the log has.
	codes map[string]int
}

func newWritten() written {
	return written{done: map[string]int{}, refused: map[string]int{}, unanswered: map[string]int{}, codes: map[string]int{}}
}

func writesOnNodes(log *audit) (written, error) {
	w := newWritten()
	calls, err := log.calls(func(c *call) bool {
		return byController(c) && c.Object.Resource == "nodes" && slices.Contains([]string{"create", "update", "patch", "delete"}, c.Verb)
	})
	for i := range calls {
		code, outcome := calls[i].Response.Code, w.refused
		switch code {
		case http.StatusOK:
			outcome = w.done
		case http.StatusGatewayTimeout:
			// So the API server calls a request whose client went away.
			outcome = w.unanswered
		}
		outcome[calls[i].Object.Name]++
		if code != http.StatusOK {
			w.codes[strconv.Itoa(code)]++
		}
	}
	return w, err
}

func sum(counts map[string]int) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}

// verdict is what was not as promised.
func (l *ledger) verdict(w written) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := slices.Clone(l.broken)
	for _, node := range slices.Sorted(maps.Keys(l.nodes)) {
		if seen, done, unanswered := l.changes[node], w.done[node], w.unanswered[node]; seen < done || seen > done+unanswered {
			errs = append(errs, fmt.Errorf("node %s: the watch saw %d changes, and the audit log has %d writes, besides %d without an answer", node, seen, done, unanswered))
		}
	}
	for _, kind := range []string{gateOpened, result} {
		if n := l.kinds[kind]; n != l.installs() {
			errs = append(errs, fmt.Errorf("%d writes for %d installs: %s", n, l.installs(), kind))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(l.kinds)) {
		if kind != gateOpened && kind != result && beyond[kind] == "" {
			errs = append(errs, fmt.Errorf("%d writes on nodes that nothing explains: %s", l.kinds[kind], kind))
		}
	}
	return errors.Join(errs...)
}

// table is what was written, and how many nodes were out of service.
func (l *ledger) table(w written) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	writes := sum(l.kinds)
	var b strings.Builder
	line := func(n int, what string) { fmt.Fprintf(&b, "%6d  %s\n", n, what) }
	line(l.installs(), "installs")
	line(writes, "writes on nodes")
	line(writes-2*l.installs(), "writes beyond two an install")
	for _, kind := range slices.Sorted(maps.Keys(l.kinds)) {
		what := "    " + kind
		if why := beyond[kind]; why != "" {
			what += ": " + why
		}
		line(l.kinds[kind], what)
	}
	fmt.Fprintf(&b, "the audit log has %d done, %d refused and %d without an answer; by code: %s\n", sum(w.done), sum(w.refused), sum(w.unanswered), words(w.codes))
	for _, runtime := range runtimesInZones {
		fmt.Fprintf(&b, "%s: at most %d nodes out of service at once of %d allowed, %d of %d while the canaries had their turn\n",
			runtime, l.most[runtime], l.allowed(), l.mostCanaries[runtime], canariesOut)
	}
	return b.String()
}
