package spec

import (
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// LabelPool is the label that makes a ConfigMap a pool; its value is the pool's name.
const LabelPool = "longshore.dev/pool"

// Pool is a group of nodes as its ConfigMap describes it: which they are, when and how fast they may be touched.
type Pool struct {
	// Name is the value of [LabelPool].
	Name string
	// NodeSelector selects nodes; it already includes kubernetes.io/os=linux and leaves out virtual kubelets.
	NodeSelector labels.Selector
	// NodeSelectorText is the selector as the user wrote it, for messages.
	NodeSelectorText string
	// MaxUnavailable is over all runtimes together; nil leaves it to each runtime's own.
	MaxUnavailable *intstr.IntOrString
	// MaintenanceWindow is when operations may begin; nil is always.
	MaintenanceWindow *MaintenanceWindow
	Paused            bool
}

// poolKeys is every key that a pool may have, in the order of docs/spec.md, which is also the order of errors.
var poolKeys = []key[Pool]{
	{
		"nodeSelector",
		value[Pool]{readPoolSelector, aSelector},
		"",
		"Which nodes the pool has, as for kubectl get nodes -l; * is every node. Always Linux nodes, never virtual kubelets.",
	},
	{
		"maxUnavailable", scalar(func(p *Pool) **intstr.IntOrString { return &p.MaxUnavailable }, aLimit), "",
		"How many nodes of the pool may be out of service at once, over all runtimes. The default is each runtime's own.",
	},
	{
		"maintenanceWindow", yamlText[Pool, windowText](readWindow), "",
		"When operations may begin: schedule (cron), duration and timeZone. Without it, always.",
	},
	{
		"paused", scalar(func(p *Pool) *bool { return &p.Paused }, aTruth), "false",
		"If true, no node of the pool begins. Nodes under way finish.",
	},
}

// ParsePool reads the data of a pool: name is the value of [LabelPool]. It returns the pool, or nil and all that is wrong with it, in
// the order of the table of keys.
func ParsePool(name string, data map[string]string, binaryData map[string][]byte) (*Pool, field.ErrorList) {
	pool := &Pool{Name: name}
	r := newReading(data)
	if r.begin(aPool, name, binaryData) {
		readKeys(&r, poolKeys, pool)
		if !r.has("nodeSelector") {
			r.add(field.Required(r.root.Key("nodeSelector"), `the nodes of the pool, as for kubectl get nodes -l; "*" is every node`))
		}
	}
	if len(r.errs) > 0 {
		return nil, readable(r.errs)
	}
	return pool, nil
}

// BothLabels is what is wrong with a ConfigMap that has both [LabelRuntime] and [LabelPool].
func BothLabels() *field.Error {
	return field.Forbidden(field.NewPath("metadata", "labels").Key(LabelPool),
		"the ConfigMap also has the label "+LabelRuntime+": it is the spec of a runtime or a pool, not both")
}

func readPoolSelector(p *Pool, path *field.Path, text string) field.ErrorList {
	selector, err := parseSelector(path, text)
	if err != nil {
		return field.ErrorList{err}
	}
	var errs field.ErrorList
	for _, key := range keysOf(selector) {
		if isOwnKey(key) {
			// The node would leave the pool, and its budget, in the middle of an operation.
			errs = append(errs, field.Forbidden(path, key+" is written by Longshore itself and cannot say which nodes a pool has"))
		}
	}
	p.NodeSelector, p.NodeSelectorText = selector.Add(linuxMachines...), strings.TrimSpace(text)
	return errs
}

// limit parses a budget that need not be there.
func limit(path *field.Path, text string) (*intstr.IntOrString, *field.Error) {
	value, err := budget(path, text)
	if err != nil {
		return nil, err
	}
	return &value, nil
}
