package spec_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/spec"
)

func TestWhichRuntimesAPayloadIsFor(t *testing.T) {
	const image, other = "registry.example.com/me/payload:try", "registry.example.com/me/other:try"
	one, two := []string{"kata"}, []string{"gvisor", "kata"}
	cases := map[string]struct {
		data     map[string]string
		runtimes []string
		images   map[string]string
		// errors are parts of the messages by runtime.
		errors map[string]string
	}{
		"the only runtime":                      {map[string]string{"daemon.payload": image}, one, map[string]string{"kata": image}, nil},
		"a line break at the end":               {map[string]string{"daemon.payload": image + "\n"}, one, map[string]string{"kata": image}, nil},
		"no runtime yet":                        {map[string]string{"daemon.payload": image}, nil, nil, nil},
		"by name":                               {map[string]string{"kata.payload": image}, two, map[string]string{"kata": image}, nil},
		"each by name":                          {map[string]string{"kata.payload": image, "gvisor.payload": other}, two, map[string]string{"kata": image, "gvisor": other}, nil},
		"by name, which is not there yet":       {map[string]string{"kata.payload": image}, []string{"gvisor"}, map[string]string{"kata": image}, nil},
		"the name counts more than daemon":      {map[string]string{"daemon.payload": other, "kata.payload": image}, one, map[string]string{"kata": image}, nil},
		"a runtime that has the name of daemon": {map[string]string{"daemon.payload": image}, []string{"daemon", "kata"}, map[string]string{"daemon": image}, nil},
		"several runtimes, and nobody knows which": {map[string]string{"daemon.payload": image}, two, nil, map[string]string{
			"kata":   "ConfigMap payload-config.data[daemon.payload]: Forbidden: there are 2 runtimes: name the one that is meant, such as gvisor.payload, not daemon.payload",
			"gvisor": "there are 2 runtimes",
		}},
		"several runtimes, one of them by name": {map[string]string{"daemon.payload": other, "kata.payload": image}, two, map[string]string{"kata": image}, map[string]string{
			"gvisor": "there are 2 runtimes",
		}},
		"several runtimes, all of them by name": {map[string]string{"daemon.payload": other, "kata.payload": image, "gvisor.payload": image}, two, map[string]string{"kata": image, "gvisor": image}, map[string]string{
			"kata": "there are 2 runtimes", "gvisor": "there are 2 runtimes",
		}},
		"no image":     {map[string]string{"kata.payload": "https://registry.example.com/x"}, two, nil, map[string]string{"kata": "ConfigMap payload-config.data[kata.payload]: Invalid value"}},
		"empty":        {map[string]string{"daemon.payload": " "}, one, nil, map[string]string{"kata": "Invalid value"}},
		"a slip":       {map[string]string{"daemon.payloads": image}, two, nil, map[string]string{"kata": "unknown key, expected daemon.payload or <runtime>.payload", "gvisor": "unknown key"}},
		"only the end": {map[string]string{".payload": image}, one, nil, map[string]string{"kata": "unknown key"}},
		"nothing":      {nil, two, nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := spec.ParsePayloads(c.data, nil, c.runtimes)
			if !maps.Equal(got.Images, c.images) {
				t.Errorf("images %v, expected %v", got.Images, c.images)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(c.errors)), slices.Sorted(maps.Keys(got.Errors))); diff != "" {
				t.Errorf("runtimes with an error, want (-) and got (+):\n%s", diff)
			}
			for runtime, words := range c.errors {
				if text := got.Errors[runtime].ToAggregate().Error(); !strings.Contains(text, words) {
					t.Errorf("%s says %q, expected in it %q", runtime, text, words)
				}
			}
		})
	}
	binary := spec.ParsePayloads(nil, map[string][]byte{"daemon.payload": []byte(image)}, one)
	if text := binary.Errors["kata"].ToAggregate().Error(); !strings.Contains(text, "ConfigMap payload-config.binaryData[daemon.payload]: Forbidden") {
		t.Errorf("binary data: %q", text)
	}
}

func TestAnotherPayloadIsAnotherRevision(t *testing.T) {
	data := map[string]string{"payloadImage": "a:1", "installCmd": "[/i]", "uninstallCmd": "[/u]", "nodeSelector": "*"}
	rt, errs := spec.Parse("kata", data, nil)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	before := rt.Revision()
	same, other := rt.WithPayload("a:1"), rt.WithPayload("a:2")
	if rt.Revision() != before || rt.Overridden {
		t.Errorf("the runtime itself was changed")
	}
	// The same image has the three variables as well.
	if same.Revision() == before || other.Revision() == before || same.Revision() == other.Revision() {
		t.Errorf("revisions %s, %s, %s: expected three", before, same.Revision(), other.Revision())
	}
	if again := rt.WithPayload("a:2"); again.Revision() != other.Revision() {
		t.Errorf("the same payload has revisions %s and %s", other.Revision(), again.Revision())
	}
}

func TestWhatCredentialsAreFor(t *testing.T) {
	images := []string{"quay.io/me/payload:1", "docker.io/me/payload:1", "quay.io/me/other@sha256:" + strings.Repeat("0", 64), "me/payload"}
	cases := map[string]struct {
		registry, username, password string
		images, want                 []string
		errors                       []string
	}{
		"for one registry":                        {"registry.example.com", "robot", "hunter2", images, []string{"registry.example.com"}, nil},
		"with a port":                             {"registry.example.com:5000", "robot", "hunter2", nil, []string{"registry.example.com:5000"}, nil},
		"with a path":                             {"quay.io/team", "robot", "hunter2", nil, []string{"quay.io/team"}, nil},
		"for Docker Hub, by its old name":         {"docker.io", "robot", "hunter2", nil, []string{"https://index.docker.io/v1/"}, nil},
		"for Docker Hub, as a pull secret has it": {"https://index.docker.io/v1/", "robot", "hunter2", nil, []string{"https://index.docker.io/v1/"}, nil},
		"line breaks at the end":                  {"registry.example.com\n", "robot\r\n", "hunter2\n", nil, []string{"registry.example.com"}, nil},
		"for the images that are named":           {"", "robot", "hunter2", images, []string{"https://index.docker.io/v1/", "quay.io"}, nil},
		"never for every registry":                {"", "robot", "hunter2", nil, nil, nil},
		"no password":                             {"quay.io", "robot", "\n", nil, nil, []string{"Secret payload-secret.data[password]: Required value"}},
		"nothing at all":                          {"", "", "", nil, nil, []string{"data[username]: Required value", "data[password]: Required value"}},
		"a line break inside":                     {"", "robot", "hun\nter2", nil, nil, []string{"data[password]: Invalid value: has a line break inside"}},
		"a colon in the name":                     {"", "ro:bot", "hunter2", nil, nil, []string{"data[username]: Invalid value: has a colon in it"}},
		"a registry that is an address":           {"https://registry.example.com", "robot", "hunter2", images, nil, []string{`data[registry]: Invalid value: "https://registry.example.com"`}},
		"a registry that is no registry":          {"team", "robot", "hunter2", nil, nil, []string{`data[registry]: Invalid value: "team"`}},
		"a registry that is every registry":       {"*", "robot", "hunter2", nil, nil, []string{`data[registry]: Invalid value: "*"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, errs := spec.Credentials(c.registry, c.username, c.password, c.images)
			if !slices.Equal(got, c.want) {
				t.Errorf("for %q, expected %q", got, c.want)
			}
			holdErrors(t, errs, c.errors)
			for _, value := range []string{"hunter2", "hun\nter2"} {
				if text := errs.ToAggregate(); text != nil && strings.Contains(text.Error(), value) {
					t.Errorf("the error gives the password away: %v", text)
				}
			}
		})
	}
}

func holdErrors(t *testing.T, errs field.ErrorList, want []string) {
	t.Helper()
	if len(errs) != len(want) {
		t.Fatalf("errors %v, expected %d", errs, len(want))
	}
	for i := range want {
		if !strings.Contains(errs[i].Error(), want[i]) {
			t.Errorf("error %q, expected in it %q", errs[i], want[i])
		}
	}
}

func TestWhetherAnImageIsPulledWithAPullSecret(t *testing.T) {
	for _, c := range []struct {
		registry, image string
		want            bool
	}{
		{"quay.io", "quay.io/me/payload:1", true},
		{"quay.io/me", "quay.io/me/payload:1", true},
		{"quay.io/m", "quay.io/me/payload:1", false},
		{"quay.io", "registry.example.com/me/payload:1", false},
		{"https://index.docker.io/v1/", "me/payload", true},
		{"quay.io", "not an image", false},
	} {
		if got := spec.PulledWith([]string{c.registry}, c.image); got != c.want {
			t.Errorf("%s with a secret for %s: %v", c.image, c.registry, got)
		}
	}
	if got := spec.RegistryOf("localhost:5000/x"); got != "localhost:5000" {
		t.Errorf("registry of localhost:5000/x: %q", got)
	}
}
