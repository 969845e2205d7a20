package bench

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// written are the controllers' writes on nodes in the audit log: those done, those refused because the node was not as expected, and those whose writer
// was killed before there was an answer, which may have been done or not.
type written struct{ done, refused, unanswered int }

func writesOnNodes(log *audit) (written, error) {
	var w written
	calls, err := log.calls(func(c *call) bool {
		return byController(c) && c.Object.Resource == "nodes" && slices.Contains([]string{"create", "update", "patch", "delete"}, c.Verb)
	})
	for i := range calls {
		switch calls[i].Response.Code {
		case http.StatusOK:
			w.done++
		case http.StatusUnprocessableEntity, http.StatusConflict, http.StatusNotFound:
			w.refused++
		default:
			w.unanswered++
		}
	}
	return w, err
}

// verdict is what was not as promised.
func (l *ledger) verdict(w written) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := slices.Clone(l.broken)
	if seen := l.seen(); seen < w.done || seen > w.done+w.unanswered {
		errs = append(errs, fmt.Errorf("the watch saw %d changes, and the audit log has %d writes on nodes, besides %d without an answer", seen, w.done, w.unanswered))
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
	writes := l.seen()
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
	line(w.refused, "refused, and so no writes")
	for _, runtime := range runtimesInZones {
		fmt.Fprintf(&b, "%s: at most %d nodes out of service at once of %d allowed, %d of %d while the canaries had their turn\n",
			runtime, l.most[runtime], l.allowed(), l.mostCanaries[runtime], canariesOut)
	}
	return b.String()
}
