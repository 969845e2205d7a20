package gitops

import "testing"

func TestKubectl(t *testing.T) {
	w := need(t)
	k := &kubectl{
		c: w.c, program: w.longshore.program, dir: t.TempDir(),
		applied: map[string]map[string]string{}, refused: map[string]error{},
	}
	w.eight(t, k)
	w.badInput(t, k)
}
