package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

var codeBlock = regexp.MustCompile("(?s)```(sh|yaml)\n(.*?\n)```\n")

// TestTheExampleOfThePayloadGuideWorksAsItStandsThere installs what docs/payload.md has: two scripts and a spec. The runtime is a wrapper of runc.
func TestTheExampleOfThePayloadGuideWorksAsItStandsThere(t *testing.T) {
	s := start(t, "demo")
	source, err := deploy.Source()
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(filepath.Join(source, "docs", "payload.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(guide), "## A small example")
	scripts, spec := map[string]string{}, ""
	for _, block := range codeBlock.FindAllStringSubmatch(example, -1) {
		text := block[2]
		if block[1] == "yaml" {
			spec = text
			continue
		}
		// The second line says where the script is in the image.
		path := strings.TrimPrefix(strings.Split(text, "\n")[1], "# ")
		scripts[path] = text
	}
	if !found || spec == "" || scripts["/payload/install.sh"] == "" || scripts["/payload/uninstall.sh"] == "" {
		t.Fatalf("docs/payload.md has no example with two scripts and a spec: found %d scripts and %q", len(scripts), spec)
	}
	content, err := payloads.Script(t.Context(), os.Stdout, scripts)
	if err != nil {
		t.Fatal(err)
	}
	content.Layers = append(content.Layers, []images.File{images.Script("/payload/demo-runtime", "#!/bin/sh\nexec runc \"$@\"\n")})
	ref := s.push("demo:1", content)

	before := s.footprint(nodeA)
	s.apply(strings.NewReplacer("registry.example.com/team/demo:1", ref, "nodeSelector: demo=yes", "nodeSelector: kubernetes.io/hostname="+nodeA+"\n  soak: 0s").Replace(spec))
	s.ready("demo", 1)
	var handlers []string
	for _, h := range s.node(t.Context(), nodeA).Status.RuntimeHandlers {
		handlers = append(handlers, h.Name)
	}
	if !slices.Contains(handlers, "demo") {
		t.Errorf("the kubelet reports handlers %q, expected demo among them", handlers)
	}
	pod := s.pod("demo-proof", nodeA, "demo", ref)
	if out, err := s.exec(nodeA, "test", "-x", "/opt/demo/demo-runtime"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.deletePod(pod.Name)
	s.remove()
	s.same(nodeA, before)
	if left := fmt.Sprint(s.left(t.Context())); left != "[]" {
		t.Errorf("left: %s", left)
	}
}
