package spec

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// parseAll parses a spec with every key, also those that are not supported yet.
func parseAll(t testing.TB, name string, data map[string]string) *Runtime {
	t.Helper()
	p := newParser(name, data)
	p.readKeys()
	p.checkRelations()
	if len(p.errs) > 0 {
		t.Fatalf("parsing %s: %v", name, p.errs.ToAggregate())
	}
	return p.runtime
}

// TestGoldenRevisions holds the revisions that clusters carry. A line here is a promise: it never changes, or every node of
// every cluster would be installed again. Another content means another format, beside the old one.
func TestGoldenRevisions(t *testing.T) {
	for file, want := range map[string][]string{
		"minimal.yaml":    {"acz73ydhz7"},
		"typical.yaml":    {"am0fwyqr3m"},
		"everything.yaml": {"ag9v3mckty"},
	} {
		t.Run(file, func(t *testing.T) {
			name, data := readSpec(t, filepath.Join("revisions", file))
			r := parseAll(t, name, data)
			if got := r.Revisions(); !slices.Equal(got, want) {
				t.Errorf("revisions are %v, clusters carry %v", got, want)
			}
			golden := filepath.Join("testdata", "revisions", strings.TrimSuffix(file, ".yaml")+".json")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, append(r.Hashed(), '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			content, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Hashed()) + "\n"; got != string(content) {
				t.Errorf("hashed is\n%swant\n%s", got, content)
			}
		})
	}
}

func TestRevisionFitsLabelsAndNames(t *testing.T) {
	r := parseAll(t, "kata", minimal())
	for _, revision := range r.Revisions() {
		if !regexp.MustCompile(`^[a-z][a-z0-9]{9}$`).MatchString(revision) {
			t.Errorf("revision %q is not ten small letters and digits that begin with a letter", revision)
		}
		label := strings.Repeat("k", maxName) + "-uninstall-" + revision
		if errs := validation.IsDNS1123Label(label); len(errs) > 0 {
			t.Errorf("the DaemonSet of the longest runtime: %v", errs)
		}
	}
	if r.Revisions()[0] != r.Revision() {
		t.Errorf("the newest of %v is not %s", r.Revisions(), r.Revision())
	}
}

// TestWhatIsInTheRevision gives every key another value and says whether nodes have to be installed again for it.
func TestWhatIsInTheRevision(t *testing.T) {
	classes := "[{name: kata, handler: kata}]"
	for _, change := range []struct {
		key, from, to string
		reinstalls    bool
	}{
		{"payloadImage", "payload:1", "payload:2", true},
		{"installerImage", "installer:1", "installer:2", true},
		{"installCmd", "[a]", "[b]", true},
		{"uninstallCmd", "[a]", "[b]", true},
		{"cleanupCmd", "[a]", "[b]", true},
		{"installerVolumes", "[{name: a, emptyDir: {}}]", "[{name: b, emptyDir: {}}]", true},
		{"installerVolumeMounts", "[{name: v, mountPath: /a}]", "[{name: v, mountPath: /b}]", true},
		{"environmentVariables", "[{name: A, value: a}]", "[{name: A, value: b}]", true},
		{"environmentVariables", "[{name: A, value: a}, {name: B}]", "[{name: B}, {name: A, value: a}]", true},
		{"preInstall", "{image: a, cmd: [a]}", "{image: b, cmd: [a]}", true},
		{"postUninstall", "{image: a, cmd: [a]}", "{image: a, cmd: [b]}", true},
		{"imagePullPolicy", "Always", "Never", false},
		{"imagePullSecrets", "[{name: a}]", "[{name: b}]", false},
		{"completion", "Exit", "Ready", true},
		{"nodeAccess", "None", "Own", true},
		{"podSecurity", "{}", "{hostNetwork: true}", true},
		{"podSecurity", "{}", "{privileged: false}", true},
		{"podSecurity", "{}", "{hostPID: false}", true},
		{"patches", "[]", "[{target: {kind: DaemonSet}, patch: '[{op: remove, path: /a}]'}]", true},
		{"patches", "[]", "[{target: {name: x}, patch: '[{op: remove, path: /a}]'}]", true},
		{"patches", "[]", "[{target: {kind: Runtime.*}, patch: '[{op: remove, path: /a}]'}]", true},
		{"patches", "[]", "[{target: {kind: DaemonSet}, patch: '{kind: RuntimeClass, metadata: {name: x}}'}]", true},
		{"patches", "[]", "[{target: {kind: RuntimeClass}, patch: '[{op: remove, path: /a}]'}]", false},
		{"patches", "[]", "[{patch: '{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: x}}'}]", false},
		{"nodeSelector", "a", "b", false},
		{"runtimeClasses", classes, "[{name: kata, handler: qemu}]", true},
		{"runtimeClasses", classes, "[]", true},
		{"runtimeClasses", classes, "[{name: other, handler: kata, overhead: {cpu: 1}, tolerations: [{operator: Exists}], scheduling: None}]", false},
		{"runtimeClasses", "[{name: a, handler: a}, {name: b, handler: b}]", "[{name: b, handler: b}, {name: a, handler: a}, {name: c, handler: a}]", false},
		{"verify", "{image: a, cmd: [a]}", "{image: b, cmd: [a]}", false},
		{"maxUnavailable", "1", "2", false},
		{"waves", "[{name: a, nodes: 1}]", "[{name: a, nodes: 2}]", false},
		{"soak", "1s", "2s", false},
		{"onFailure", "Halt", "Continue", false},
		{"maxFailed", "1", "2", false},
		{"attempts", "1", "2", false},
		{"installTimeout", "1s", "2s", false},
		{"drain", "None", "Drain", false},
		{"paused", "true", "false", false},
		{"deletionPolicy", "Background", "Foreground", false},
		{"inUsePolicy", "Wait", "Evict", false},
		{"deletionGrace", "1m", "2m", false},
		{"deselectionGrace", "1m", "2m", false},
	} {
		from, to := withKey(t, change.key, change.from), withKey(t, change.key, change.to)
		if got := from.Revision() != to.Revision(); got != change.reinstalls {
			t.Errorf("%s from %s to %s: another revision is %t, want %t\n%s\n%s",
				change.key, change.from, change.to, got, change.reinstalls, from.Hashed(), to.Hashed())
		}
	}
	done := map[string]string{"completion": "NodeLabel", "installDoneLabel": "a=b", "uninstallDoneLabel": "a=c", "cleanupCmd": "[a]", "cleanupDoneLabel": "a-"}
	for _, key := range []string{"installDoneLabel", "uninstallDoneLabel", "cleanupDoneLabel"} {
		from, to := minimalWith(done), minimalWith(done)
		to[key] = "example.com/x=y"
		if parseAll(t, "kata", from).Revision() == parseAll(t, "kata", to).Revision() {
			t.Errorf("%s changes no revision", key)
		}
	}
}

func withKey(t *testing.T, key, value string) *Runtime {
	t.Helper()
	data := map[string]string{key: value}
	switch key {
	case "installerVolumeMounts":
		data["installerVolumes"] = "[{name: v, emptyDir: {}}]"
	case "verify":
		data["runtimeClasses"] = "[{name: kata, handler: kata}]"
	}
	return parseAll(t, "kata", minimalWith(data))
}

func minimalWith(more map[string]string) map[string]string {
	data := minimal()
	maps.Copy(data, more)
	return data
}

// TestEqualMeaningGivesEqualRevisions writes one thing in several ways.
func TestEqualMeaningGivesEqualRevisions(t *testing.T) {
	for name, writings := range map[string][]map[string]string{
		"YAML, JSON, comments and quotes": {
			{"installCmd": `["/bin/sh", "-c", "true"]`},
			{"installCmd": "# installs\n- /bin/sh\n- -c\n- 'true'\n"},
			{"installCmd": "[/bin/sh,\n  -c, \"true\"]"},
		},
		"space around plain text": {
			{"payloadImage": "payload:1"},
			{"payloadImage": "\n  payload:1 \n"},
		},
		"the order of fields": {
			{"environmentVariables": "[{name: A, value: b}]"},
			{"environmentVariables": "[{value: b, name: A}]"},
		},
		"an empty value and none": {
			{"environmentVariables": "[{name: A, value: ''}]"},
			{"environmentVariables": "[{name: A}]"},
		},
		"quantities": {
			{"installerVolumes": "[{name: a, emptyDir: {sizeLimit: 1024Mi}}]"},
			{"installerVolumes": "[{name: a, emptyDir: {sizeLimit: 1Gi}}]"},
			{"installerVolumes": "[{name: a, emptyDir: {sizeLimit: 1048576Ki}}]"},
		},
		"numbers": {
			{"installerVolumes": "[{name: a, configMap: {name: a, defaultMode: 0644}}]"},
			{"installerVolumes": "[{name: a, configMap: {name: a, defaultMode: 420}}]"},
			{"installerVolumes": "[{name: a, configMap: {name: a, defaultMode: 0x1A4}}]"},
		},
		"defaults, given and left out": {
			{},
			{"completion": "Exit", "nodeAccess": "None", "podSecurity": "{privileged: true, hostPID: true, hostNetwork: false}"},
			{"patches": "[]", "environmentVariables": "[]", "installerVolumes": "[]", "runtimeClasses": "[]", "podSecurity": "{}"},
		},
		"defaults that depend": {
			{"completion": "NodeLabel", "installDoneLabel": "a=b", "uninstallDoneLabel": "a=c"},
			{"completion": "NodeLabel", "installDoneLabel": "a=b", "uninstallDoneLabel": "a=c", "nodeAccess": "Own"},
		},
		"bodies of patches": {
			{"patches": "[{target: {kind: DaemonSet}, patch: '[{\"op\": \"add\", \"path\": \"/a\", \"value\": 1}]'}]"},
			{"patches": "- patch: |\n    # why\n    - path: /a\n      value: 1\n      op: add\n  target:\n    kind: DaemonSet\n  options: {allowNameChange: false}\n"},
		},
		"hooks": {
			{"preInstall": `{"cmd": ["a"], "image": "b"}`},
			{"preInstall": "image: b\ncmd:\n- a\nvolumes: []"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := parseAll(t, "kata", minimalWith(writings[0]))
			for _, data := range writings[1:] {
				other := parseAll(t, "kata", minimalWith(data))
				if first.Revision() != other.Revision() {
					t.Errorf("%v and %v differ:\n%s\n%s", writings[0], data, first.Hashed(), other.Hashed())
				}
			}
		})
	}
}

func TestTheNameIsNotInTheRevision(t *testing.T) {
	if parseAll(t, "a", minimal()).Revision() != parseAll(t, "b", minimal()).Revision() {
		t.Error("two runtimes of the same content have different revisions")
	}
}

// Where an older revision comes into force again, what is installed is that revision, and how carefully is what people ask for today.
func TestAnOlderRevisionIsRolledOutAsTheSpecOfTodaySays(t *testing.T) {
	older := parseAll(t, "kata", minimalWith(map[string]string{"payloadImage": "payload:1", "maxUnavailable": "1", "deletionGrace": "1h", "deselectionGrace": "2h"}))
	for _, today := range []*Runtime{
		parseAll(t, "kata", minimalWith(map[string]string{"payloadImage": "payload:2", "maxUnavailable": "2", "deletionGrace": "0s", "deselectionGrace": "10m"})),
		parseAll(t, "kata", minimalWith(map[string]string{"payloadImage": "payload:2"})),
	} {
		got := older.WithRolloutOf(today)
		if got.Revision() != older.Revision() {
			t.Errorf("the revision is %s, expected %s", got.Revision(), older.Revision())
		}
		if got.DeletionGrace != today.DeletionGrace || got.DeselectionGrace != today.DeselectionGrace || got.MaxUnavailable != today.MaxUnavailable {
			t.Errorf("the graces are %v and %v, the budget %v, expected %v, %v and %v", got.DeletionGrace, got.DeselectionGrace, got.MaxUnavailable.String(),
				today.DeletionGrace, today.DeselectionGrace, today.MaxUnavailable.String())
		}
	}
}
