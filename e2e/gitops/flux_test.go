package gitops

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFlux(t *testing.T) {
	w := need(t)
	f, err := startFlux(w.ctx, w.c, filepath.Join(w.dir, "flux"), os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.words())
		}
		f.stop()
	})
	w.eight(t, f)
	w.badInput(t, f)
}
