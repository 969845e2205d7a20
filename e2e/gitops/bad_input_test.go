package gitops

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// badInput plays what people get wrong. Each has to be visible in the tool's own words within a minute.
func (w *world) badInput(t *testing.T, with tool) {
	w.play(t, with, "two specs of one runtime", twoSpecs)
	w.play(t, with, "spec in a namespace nobody watches", strayNamespace)
	w.play(t, with, "spec without data", noData)
	w.play(t, with, "300 KiB of data", tooLarge)
	w.play(t, with, "label moves to another runtime", movedLabel)
}

func twoSpecs(s *scenario) {
	one := spec(s.runtime)
	files := fixed(s.app.path, one)
	files["second.json"] = mustJSON(one.configMap(s.runtime+"-second", installers))
	files["kustomization.yaml"] = `{"resources": ["notes.json", "` + s.runtime + `.json", "second.json"]}`
	s.push(files)
	// Both are made in the same second or in two; the other one wins then.
	s.until(bad, soon, s.about(installers, s.runtime, "nothing in this ConfigMap is obeyed")...)
	s.ready(s.newest())
	s.installed()
}

func strayNamespace(s *scenario) {
	stray := spec(s.runtime).configMap(s.runtime, elsewhere)
	files := fixed(s.app.path)
	files["stray.json"] = mustJSON(stray)
	files["kustomization.yaml"] = `{"resources": ["notes.json", "stray.json"]}`
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: elsewhere}}
	_, err := s.w.kube.CoreV1().Namespaces().Create(s.Context(), namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		s.Fatal(err)
	}
	s.push(files)
	s.until(bad, soon, s.about(elsewhere, s.runtime, "namespace")...)
	s.untouched()
}

func noData(s *scenario) {
	files := fixed(s.app.path, source{runtime: s.runtime})
	s.push(files)
	s.until(bad, soon, s.about(installers, s.runtime, "payloadImage")...)
	s.untouched()
}

func tooLarge(s *scenario) {
	before := spec(s.runtime)
	s.begin(fixed(s.app.path, before))
	large := `[{name: LARGE, value: "` + strings.Repeat("x", 300<<10) + `"}]`
	s.push(fixed(s.app.path, before.with("environmentVariables", large)))
	s.until(bad, soon, s.about(installers, s.runtime, "bytes")...)
	s.untouched()
	s.push(fixed(s.app.path, before))
	s.until(good, patience)
	s.untouched()
}

// movedLabel gives the ConfigMap of one runtime to another one, with the same RuntimeClass. The tool may say that
// all is well only when the other runtime is on all nodes.
func movedLabel(s *scenario) {
	before := spec(s.runtime, "deletionGrace", "15s")
	s.begin(fixed(s.app.path, before))
	other := s.runtime + "-2"
	moved := source{runtime: other, data: before.data}
	files := fixed(s.app.path)
	files["moved.json"] = mustJSON(moved.configMap(s.runtime, installers))
	files["kustomization.yaml"] = `{"resources": ["notes.json", "moved.json"]}`
	mark := time.Now()
	s.push(files)
	switch {
	case s.tool.waves():
		s.sees(soon, "LabelMoved")
	case !s.tool.repeats():
		// Flux gives up at once, because the RuntimeClass is still the other runtime's, and tries again after retryInterval.
		s.until(bad, soon, s.about(installers, s.runtime)...)
		s.ready(s.runtime)
		s.look()
	}
	s.until(good, patience)
	s.mark = mark
	s.ran(other, "install")
	s.gone(s.runtime)
	s.ran(s.runtime, "uninstall")
}
