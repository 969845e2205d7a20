package gitops

import (
	"os"
	"path/filepath"
	"testing"
)

func TestArgoCD(t *testing.T) {
	w := need(t)
	dir := filepath.Join(w.dir, "argocd")
	a, err := startArgoCD(w.ctx, w.c, dir, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(a.words())
		}
		a.stop()
	})
	w.eight(t, a)
	w.badInput(t, a)
}
