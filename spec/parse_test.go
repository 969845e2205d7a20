package spec

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// lines are the errors as people see them.
func lines(errs field.ErrorList) []string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

func TestDefaultsAreFilledIn(t *testing.T) {
	r, errs := Parse("kata", minimal(), nil)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	want := &Runtime{
		Name:             "kata",
		PayloadImage:     "registry.example.com/kata/payload:3.2.0",
		InstallCmd:       []string{"/opt/install.sh", "install"},
		UninstallCmd:     []string{"/opt/install.sh", "uninstall"},
		ImagePullPolicy:  corev1.PullIfNotPresent,
		Completion:       CompletionExit,
		NodeAccess:       NodeAccessNone,
		PodSecurity:      PodSecurity{Privileged: true, HostPID: true},
		NodeSelectorText: "*",
		MaxUnavailable:   intstr.FromInt32(1),
		Soak:             time.Minute,
		OnFailure:        OnFailureHalt,
		MaxFailed:        intstr.FromInt32(0),
		Attempts:         3,
		InstallTimeout:   15 * time.Minute,
		Drain:            DrainNone,
		DeletionPolicy:   DeletionBackground,
		InUsePolicy:      InUseWait,
	}
	selector := r.NodeSelector
	r.NodeSelector = nil
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	for node, selected := range map[string]bool{
		"kubernetes.io/os=linux":             true,
		"kubernetes.io/os=linux,type=worker": true,
		"kubernetes.io/os=windows":           false,
		"":                                   false,
		"kubernetes.io/os=linux,type=virtual-kubelet": false,
	} {
		set, err := labels.ConvertSelectorToLabelsMap(node)
		if err != nil {
			t.Fatal(err)
		}
		if got := selector.Matches(set); got != selected {
			t.Errorf("a node labelled %q is selected: %t, want %t", node, got, selected)
		}
	}
}

func TestDefaultsThatDependOnOtherKeys(t *testing.T) {
	r := parseAll(t, "kata", minimalWith(map[string]string{
		"completion": "NodeLabel", "installDoneLabel": "a=b", "uninstallDoneLabel": "a-",
		"runtimeClasses": "[{name: a, handler: a}, {name: b, handler: a, scheduling: None}]",
	}))
	if r.NodeAccess != NodeAccessOwn {
		t.Errorf("nodeAccess of a NodeLabel payload is %s, want Own", r.NodeAccess)
	}
	if got := []ClassScheduling{r.RuntimeClasses[0].Scheduling, r.RuntimeClasses[1].Scheduling}; !slices.Equal(got, []ClassScheduling{SchedulingReady, SchedulingNone}) {
		t.Errorf("scheduling is %v, want Ready and None", got)
	}
	if r.UninstallDoneLabel.Value != nil || *r.InstallDoneLabel.Value != "b" {
		t.Errorf("done labels are %v and %v", r.InstallDoneLabel, r.UninstallDoneLabel)
	}
}

func TestNoSelectorAsksForADoneLabel(t *testing.T) {
	_, errs := Parse("kata", minimalWith(map[string]string{
		"completion": "NodeLabel", "installDoneLabel": "a=b", "uninstallDoneLabel": "c-", "nodeSelector": "a notin (b), x=y",
		"preInstall":    "{image: busybox, cmd: [a], doneLabel: kubernetes.io/os=linux}",
		"postUninstall": "{image: busybox, cmd: [a], doneLabel: d-}",
		"waves":         "[{name: first, nodeSelector: c}, {name: rest, nodes: 5}]",
	}), nil)
	want := []string{
		`data[preInstall].doneLabel: Forbidden: nodeSelector looks at kubernetes.io/os: an install would select or deselect its own node`,
		`data[installDoneLabel]: Forbidden: nodeSelector looks at a: an install would select or deselect its own node`,
		`data[uninstallDoneLabel]: Forbidden: the nodeSelector of wave first looks at c: an install would select or deselect its own node`,
	}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
}

func TestKeysThatAreSeldomGivenAreParsed(t *testing.T) {
	r := parseAll(t, "kata", minimalWith(map[string]string{
		"installerImage": "installer:1", "drain": "Drain", "deletionPolicy": "Foreground", "inUsePolicy": "Evict",
		"onFailure": "Rollback", "completion": "Exit", "nodeAccess": "Own",
		"verify":         "{image: busybox, cmd: [uname]}",
		"runtimeClasses": "[{name: a, handler: a}]",
		"waves":          "[{name: canary, nodes: 2, soak: 1h}, {name: rest, nodeSelector: 'pool in (a,b)', maxUnavailable: 10%}]",
	}))
	if r.InstallerImage != "installer:1" || r.Drain != DrainDrain || r.DeletionPolicy != DeletionForeground ||
		r.InUsePolicy != InUseEvict || r.OnFailure != OnFailureRollback || r.Completion != CompletionExit || r.NodeAccess != NodeAccessOwn {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff(&Verify{Image: "busybox", Cmd: []string{"uname"}}, r.Verify); diff != "" {
		t.Error(diff)
	}
	canary, rest := r.Waves[0], r.Waves[1]
	if canary.Name != "canary" || canary.Count != 2 || *canary.Soak != time.Hour || canary.Selector != nil || canary.MaxUnavailable != nil {
		t.Errorf("the first wave is %+v", canary)
	}
	if rest.Name != "rest" || rest.Selector.String() != "pool in (a,b)" || rest.MaxUnavailable.String() != "10%" || rest.Soak != nil {
		t.Errorf("the second wave is %+v", rest)
	}
}

func TestUninstallCmdIsRequiredUnlessOrphaned(t *testing.T) {
	data := minimal()
	delete(data, "uninstallCmd")
	_, errs := Parse("kata", data, nil)
	want := []string{"data[uninstallCmd]: Required value: the command that takes back what installCmd did; only deletionPolicy: Orphan does without"}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
	data["deletionPolicy"] = "Orphan"
	if r := parseAll(t, "kata", data); r.UninstallCmd != nil {
		t.Errorf("uninstallCmd is %v", r.UninstallCmd)
	}
}

func TestAllErrorsComeAtOnce(t *testing.T) {
	_, errs := Parse("Kata", map[string]string{
		"installCmd":            "[run, 5]",
		"installerVolumeMounts": "[{name: opt, mountPath: /opt}]",
		"nodeselector":          "*",
		"zzz":                   "x",
		"maxUnavailable":        "none",
		"runtimeClasses":        "[{name: kata, handler: kata}, {name: kata}]",
		"inst\xffallCmd":        "[x]",
		"soak":                  "1s\xff",
	}, map[string][]byte{"b.bin": {1}, "a.bin": {1}})
	want := []string{
		`metadata.labels[longshore.dev/runtime]: Invalid value: "Kata": the name of a runtime is a DNS label: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
		`binaryData[a.bin]: Forbidden: a spec is text: put the key into data`,
		`binaryData[b.bin]: Forbidden: a spec is text: put the key into data`,
		`data[installCmd][1]: Invalid value: "5": expected a string, found a number: put it in quotes`,
		`data[runtimeClasses][1].name: Duplicate value: "kata"`,
		`data[runtimeClasses][1].handler: Required value: the name of the handler in the configuration of the container runtime`,
		`data[maxUnavailable]: Invalid value: "none": expected a number of nodes of at least 1, or a percentage from 1% to 100%`,
		`data[soak]: Invalid value: not valid UTF-8`,
		"data[inst\uFFFDallCmd]: Forbidden: unknown key, did you mean \"installCmd\"?",
		`data[nodeselector]: Forbidden: unknown key, did you mean "nodeSelector"?`,
		`data[zzz]: Forbidden: unknown key, docs/spec.md lists those there are`,
		`data[payloadImage]: Required value: the image with the artifacts and the commands that install them`,
		`data[nodeSelector]: Required value: the nodes to install on, as for kubectl get nodes -l; "*" is every node`,
		`data[uninstallCmd]: Required value: the command that takes back what installCmd did; only deletionPolicy: Orphan does without`,
		`data[installerVolumeMounts][0].name: Not found: "opt": expected the name of a volume, found volumes: none`,
	}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
}

func TestRuntimeNames(t *testing.T) {
	for _, good := range []string{"a", "kata-3", "0", strings.Repeat("a", 40)} {
		if _, errs := Parse(good, minimal(), nil); len(errs) > 0 {
			t.Errorf("%q: %v", good, errs.ToAggregate())
		}
	}
	path := "metadata.labels[longshore.dev/runtime]: "
	for bad, want := range map[string]string{
		"":                      path + "Required value: the value is the name of the runtime, such as kata",
		"a.b":                   path + `Invalid value: "a.b": the name of a runtime is a DNS label: must not contain dots`,
		strings.Repeat("a", 41): path + `Invalid value: "` + strings.Repeat("a", 41) + `": the name of a runtime has at most 40 characters, found 41`,
	} {
		r, errs := Parse(bad, minimal(), nil)
		if diff := cmp.Diff([]string{want}, lines(errs)); diff != "" || r != nil {
			t.Errorf("%q: %v %s", bad, r, diff)
		}
	}
}

func TestSizeOfTheWholeSpec(t *testing.T) {
	data := minimal()
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
	}
	data["installCmd"] += strings.Repeat(" ", MaxSize-size)
	if _, errs := Parse("kata", data, nil); len(errs) > 0 {
		t.Errorf("65536 bytes: %v", errs.ToAggregate())
	}
	data["installCmd"] += " "
	_, errs := Parse("kata", data, nil)
	want := []string{"data: Invalid value: keys and values together may have 65536 bytes, found 65537"}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesStayReadable(t *testing.T) {
	long := strings.Repeat("y", 20_000)
	_, errs := Parse("kata", minimalWith(map[string]string{
		long:                   "x",
		"payloadImage":         strings.ToUpper(long),
		"nodeSelector":         long + "=",
		"environmentVariables": "[" + strings.Repeat("5,", 1000) + "]",
	}), nil)
	if len(errs) != maxErrors+1 || errs[maxErrors].Error() != "data: Invalid value: and 3 more errors" {
		t.Errorf("got %d errors, the last is %v", len(errs), errs[len(errs)-1])
	}
	for _, err := range errs {
		if size := len(err.Error()); size > maxPath+maxExcerpt+maxDetail+50 {
			t.Errorf("a message has %d bytes: %.100s", size, err)
		}
	}
}

// TestHostileValuesCostLittle gives every key values that are as long as a spec may be and that parsers find hard.
func TestHostileValuesCostLittle(t *testing.T) {
	for name, value := range hostileValues() {
		for _, k := range keys {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, errs := Parse("kata", minimalWith(map[string]string{k.name: value}), nil)
			runtime.ReadMemStats(&after)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 150 {
				t.Errorf("%s: %s: allocated %d MiB in total", k.name, name, mib)
			}
			if len(errs) > maxErrors+1 {
				t.Errorf("%s: %s: %d errors", k.name, name, len(errs))
			}
		}
	}
}

func hostileValues() map[string]string {
	size := MaxSize - 500
	fill := func(part string) string { return strings.Repeat(part, size/len(part)) }
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%[1]c [%[2]s]\n", c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	class := "[{name: a, handler: a, overhead: {cpu: %s}}]"
	patch := "[{target: {kind: '%s'}, patch: '%s'}]"
	return map[string]string{
		"open brackets":     fill("["),
		"open braces":       fill("{"),
		"nested keys":       fill("a: "),
		"nested dashes":     fill("- "),
		"question marks":    fill("? "),
		"a long list":       "[" + fill("x,") + "]",
		"empty objects":     "[" + fill("{},") + "]",
		"nulls":             "[" + fill("null,") + "]",
		"aliases":           bomb,
		"anchors":           "[" + fill("&a x,") + "]",
		"merges":            fill("<<: *a\n"),
		"documents":         fill("---\n"),
		"comments":          "- a\n" + fill(" #\n"),
		"newlines":          fill("\n"),
		"a long string":     fill("a"),
		"a literal":         "|\n" + fill(" a\n"),
		"a long tag":        "!" + fill("a") + " x",
		"a long number":     fill("9"),
		"a huge exponent":   "1e" + fill("9"),
		"slashes":           fill("a/"),
		"dots":              fill("a."),
		"requirements":      fill("a,") + "a",
		"a set":             "a in (" + fill("x,") + "x)",
		"parentheses":       "a in " + fill("("),
		"equal names":       "[" + fill("{name: A},") + "]",
		"a tiny quantity":   fmt.Sprintf(class, "1e-99999999"),
		"a long quantity":   fmt.Sprintf(class, fill("9")),
		"tolerations":       "[{tolerations: [" + fill("{},") + "]}]",
		"a nested patch":    fmt.Sprintf(patch, "DaemonSet", fill("[")),
		"many operations":   fmt.Sprintf(patch, "DaemonSet", "["+fill("{},")+"]"),
		"many patches":      "[" + fill("{patch: a},") + "]",
		"a long expression": fmt.Sprintf(patch, fill("(a*)"), "a"),
		"a wide expression": fmt.Sprintf(patch, "((((a{100}){100}){100}){100})", "a"),
		"invalid UTF-8":     fill("\xff"),
	}
}
