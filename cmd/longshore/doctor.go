package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
	"longshore.dev/longshore/status"
)

func doctorCommand(env *environment) *cobra.Command {
	c := &connection{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the set-up",
		Long: `Find what is wrong with the set-up: namespaces, the controller and its lease, its rights, specs that nobody watches, and what is left in the cluster that nobody knows of. Nothing is changed.
Each line is something that is right (ok), that people may want to know (note), or that is wrong and what to do about it (WRONG).

Exit code 1 if anything is wrong. How rollouts stand is told by longshore status.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kube, err := c.client(cmd.Context(), nil)
			if err != nil {
				return err
			}
			d := &doctor{connection: c, kube: kube, now: time.Now()}
			d.examine(cmd.Context())
			return d.tell(env)
		},
	}
	c.flags(cmd.Flags())
	return cmd
}

// doctor looks at one thing after the other, and takes down what it finds.
type doctor struct {
	*connection
	kube     kubernetes.Interface
	now      time.Time
	findings []finding
}

// finding is one line: its kind, what is so and, where it is wrong, what to do.
type finding struct{ kind, what, remedy string }

// The kinds of findings.
const (
	isOK    = "ok"
	isNote  = "note"
	isWrong = "WRONG"
)

func (d *doctor) ok(format string, args ...any)   { d.find(isOK, "", format, args...) }
func (d *doctor) note(format string, args ...any) { d.find(isNote, "", format, args...) }

func (d *doctor) wrong(remedy, format string, args ...any) { d.find(isWrong, remedy, format, args...) }

func (d *doctor) find(kind, remedy, format string, args ...any) {
	d.findings = append(d.findings, finding{kind, fmt.Sprintf(format, args...), remedy})
}

// deploy is the remedy for what a deployment puts there.
const deploy = "deploy Longshore, as in docs/install.md: kustomize build kustomize/default | kubectl apply -f -"

func (d *doctor) examine(ctx context.Context) {
	d.namespaces(ctx)
	d.controller(ctx)
	d.rights(ctx)
	d.strays(ctx)
	d.cluster(ctx)
}

func (d *doctor) tell(env *environment) error {
	count := 0
	for _, f := range d.findings {
		text := f.what
		if f.remedy != "" {
			text += "; " + f.remedy
		}
		if f.kind == isWrong {
			count++
		}
		if _, err := fmt.Fprintf(env.stdout, "%-6s %s\n", f.kind, plain(text)); err != nil {
			return err
		}
	}
	if count > 0 {
		return fmt.Errorf("wrong: %d of %d", count, len(d.findings))
	}
	return nil
}

// unknown says that something could not be looked at.
func (d *doctor) unknown(what string, err error) {
	if apierrors.IsForbidden(err) {
		d.note("%s: this account may not look: %v", what, err)
		return
	}
	d.wrong("", "%s: %v", what, err)
}

// podSecurity is the label by which a namespace says what its pods may do.
const podSecurity = "pod-security.kubernetes.io/enforce"

func (d *doctor) namespaces(ctx context.Context) {
	for _, name := range []string{d.namespace, d.system} {
		ns, err := d.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			d.wrong(deploy, "there is no namespace %s", name)
		case err != nil:
			d.unknown("namespace "+name, err)
		case ns.DeletionTimestamp != nil:
			d.wrong("", "namespace %s is being deleted", name)
		case name == d.namespace && ns.Labels[podSecurity] != "" && ns.Labels[podSecurity] != "privileged":
			d.wrong("set it to privileged", "namespace %s has the label %s=%s: installers are refused there", name, podSecurity, ns.Labels[podSecurity])
		default:
			d.ok("namespace %s", name)
		}
	}
}

// late is how long ago a lease may have been renewed: clocks differ, and a leader may just have changed.
const late = time.Minute

func (d *doctor) controller(ctx context.Context) {
	set, err := d.kube.AppsV1().Deployments(d.system).Get(ctx, observed.Manager, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		d.wrong(deploy, "there is no Deployment %s/%s", d.system, observed.Manager)
	case err != nil:
		d.unknown("Deployment "+observed.Manager, err)
	case set.Status.ReadyReplicas == 0:
		d.wrong("look at kubectl -n "+d.system+" describe pods and logs deployment/"+observed.Manager, "no replica of Deployment %s/%s is ready", d.system, observed.Manager)
	default:
		d.ok("%d replicas of the controller are ready", set.Status.ReadyReplicas)
	}
	lease, err := d.kube.CoordinationV1().Leases(d.system).Get(ctx, observed.Manager, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		d.wrong("look at the log of the controller", "no controller ever held the lease %s/%s", d.system, observed.Manager)
	case err != nil:
		d.unknown("lease "+observed.Manager, err)
	case !d.held(lease):
		d.wrong("look at the log of the controller", "no controller leads: the lease %s/%s was renewed last at %s", d.system, observed.Manager, renewed(lease))
	default:
		d.ok("%s leads", *lease.Spec.HolderIdentity)
	}
}

func (d *doctor) held(l *coordinationv1.Lease) bool {
	return l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" && l.Spec.RenewTime != nil && d.now.Sub(l.Spec.RenewTime.Time) < late
}

func renewed(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil {
		return "no time"
	}
	return moment(l.Spec.RenewTime.Time)
}

// right is what the controller's account has to be allowed to do.
type right struct {
	// in is where: the namespace of specs, that of the controller, or "" for the whole cluster.
	in                    place
	group, resource, name string
	verbs                 []string
}

type place int

const (
	everywhere place = iota
	withSpecs
	withController
)

// rights are those of kustomize/default but for Events; a test holds that they are the same.
var rights = []right{
	{everywhere, "", "nodes", "", []string{"get", "list", "watch", "patch"}},
	{everywhere, "node.k8s.io", "runtimeclasses", "", []string{"get", "list", "watch", "create", "patch", "delete"}},
	{everywhere, "", "namespaces", "longshore", []string{"get", "list", "watch"}},
	{everywhere, "", "namespaces", "longshore-system", []string{"get", "list", "watch"}},
	{withController, "apps", "deployments", "longshore", []string{"get", "list", "watch"}},
	{withSpecs, "", "configmaps", "", []string{"get", "list", "watch", "patch"}},
	{withSpecs, "apps", "daemonsets", "", []string{"get", "list", "watch", "create", "patch", "delete"}},
	{withSpecs, "apps", "controllerrevisions", "", []string{"get", "list", "watch", "create", "patch", "delete"}},
	{withSpecs, "", "pods", "", []string{"get", "list", "watch", "delete"}},
	{withSpecs, "", "secrets", "payload-secret", []string{"get", "list", "watch"}},
	{withSpecs, "", "secrets", "longshore-pull", []string{"patch"}},
	{withController, "", "configmaps", "", []string{"create"}},
	{withController, "", "configmaps", "longshore-turns", []string{"get", "list", "watch", "update"}},
	{withController, "", "configmaps", "longshore-pools", []string{"get", "list", "watch", "update"}},
	{withController, "coordination.k8s.io", "leases", "", []string{"create"}},
	{withController, "coordination.k8s.io", "leases", "longshore", []string{"get", "update"}},
}

// rights asks the API server what the controller's account may do.
func (d *doctor) rights(ctx context.Context) {
	account := "system:serviceaccount:" + d.system + ":" + observed.Manager
	var missing []string
	for _, r := range rights {
		namespace := map[place]string{withSpecs: d.namespace, withController: d.system}[r.in]
		for _, verb := range r.verbs {
			allowed, err := d.may(ctx, account, &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: r.group, Resource: r.resource, Name: r.name})
			if err != nil {
				d.unknown("the rights of "+account, err)
				return
			}
			if !allowed {
				missing = append(missing, r.words(verb, namespace))
			}
		}
	}
	if len(missing) > 0 {
		d.wrong(deploy, "the account %s may not %s", account, strings.Join(missing, ", "))
		return
	}
	d.ok("the account %s has its rights", account)
}

// may tells whether an account has a right.
func (d *doctor) may(ctx context.Context, account string, what *authorizationv1.ResourceAttributes) (bool, error) {
	answer, err := d.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + d.system, "system:authenticated"}, ResourceAttributes: what,
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

// workloads are the rights that come with a component of their own, where a spec asks for what takes them.
func (d *doctor) workloads(ctx context.Context, v *view) {
	var need []string
	for i := range v.plan.Runtimes {
		if s := v.plan.Runtimes[i].Spec; s != nil && (s.Drain == spec.DrainDrain || s.InUsePolicy != spec.InUseIgnore) {
			need = append(need, s.Name)
		}
	}
	if len(need) == 0 {
		return
	}
	account := "system:serviceaccount:" + d.system + ":" + observed.Manager
	for _, what := range []authorizationv1.ResourceAttributes{{Verb: "list", Resource: "pods"}, {Verb: "watch", Resource: "pods"}, {Verb: "create", Resource: "pods", Subresource: "eviction"}} {
		allowed, err := d.may(ctx, account, &what)
		if err != nil {
			// The rights that everybody needs were asked for before, with the same answer.
			return
		}
		if !allowed {
			d.wrong("add kustomize/components/workloads to the deployment, or set inUsePolicy: Ignore and no drain: Drain",
				"the account %s may not see the pods of other namespaces and evict them, which drain or inUsePolicy of %s take", account, strings.Join(need, ", "))
			return
		}
	}
}

func (r *right) words(verb, namespace string) string {
	text := verb + " " + r.resource
	if r.name != "" {
		text += "/" + r.name
	}
	if namespace != "" {
		text += " in " + namespace
	}
	return text
}

// strays finds specs and pools in namespaces that nobody watches.
func (d *doctor) strays(ctx context.Context) {
	var strays []string
	for _, label := range []string{observed.LabelRuntime, observed.LabelPool} {
		all, err := d.kube.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			d.unknown("specs in other namespaces", err)
			return
		}
		for i := range all.Items {
			if cm := &all.Items[i]; cm.Namespace != d.namespace {
				strays = append(strays, cm.Namespace+"/"+cm.Name)
			}
		}
	}
	if len(strays) > 0 {
		d.wrong("put them into namespace "+d.namespace+", or delete them", "nobody watches the ConfigMaps %s", strings.Join(strays, ", "))
		return
	}
	d.ok("every spec and pool is in namespace %s", d.namespace)
}

// cluster looks with the controller's own eyes.
func (d *doctor) cluster(ctx context.Context) {
	snap, err := d.once(ctx, d.kube)
	if err != nil {
		d.unknown("what the controller sees", err)
		return
	}
	before := len(d.findings)
	v := lookAt(snap)
	d.objects(v)
	d.nodes(v)
	d.access(ctx, v)
	d.workloads(ctx, v)
	if len(d.findings) == before {
		d.ok("nothing in the cluster is out of place: %d runtimes, %d pools, %d nodes", len(v.report.Runtimes), len(v.report.Pools), len(snap.Nodes))
	}
}

// objects are about specs and what was made of them.
func (d *doctor) objects(v *view) {
	if v.snap.Turns.Problem != "" {
		d.wrong("nothing has to be done: the next write leaves it out", "somebody else wrote into ConfigMap %s/%s: %s", d.system, observed.TurnsName, v.snap.Turns.Problem)
	}
	for i := range v.plan.Pools {
		if p := &v.plan.Pools[i]; p.Unremembered != "" {
			d.wrong("have fewer pools, or smaller ones", "pool %q in ConfigMap %s/%s: %s", p.Source.Pool, d.namespace, p.Source.Name, p.Unremembered)
		}
	}
	for _, name := range v.plan.Unmeant {
		d.wrong("correct it", "ConfigMap %s/%s names the runtime %q, which has no spec", d.namespace, observed.PayloadConfigName, name)
	}
	for i := range v.plan.Runtimes {
		r := &v.plan.Runtimes[i]
		for _, rev := range r.History {
			if rev.Problem != "" {
				d.wrong("delete it, if no node carries the revision", "ControllerRevision %s cannot be read: %s", rev.Name, rev.Problem)
			}
		}
		for _, s := range r.Superseded {
			d.note("ConfigMap %s is superseded by %s; nobody obeys it: kubectl -n %s delete configmap %s", s.Name, r.Source.Name, d.namespace, s.Name)
		}
		if r.Source == nil && len(r.History) == 0 && r.Carrying > 0 {
			d.wrong("clean up there, and take the keys "+r.Name+"."+observed.Domain+" off by hand", "%d nodes carry runtime %q, of which neither a spec nor a snapshot is there", r.Carrying, r.Name)
		}
	}
	for i := range v.plan.Runtimes {
		if message, refused := refusedByCluster(&v.plan.Runtimes[i]); refused {
			d.wrong("mend it", "the spec of runtime %q is %s: %s", v.plan.Runtimes[i].Name, status.Invalid, message)
		}
	}
	for _, r := range v.report.Runtimes {
		if r.Phase == status.Invalid || r.Phase == status.Conflict {
			d.wrong("see longshore status "+r.Name, "the spec of runtime %q is %s", r.Name, r.Phase)
		}
	}
	for _, p := range v.report.Pools {
		if p.Phase == status.Invalid {
			d.wrong("see longshore status", "pool %q is %s", p.Name, p.Phase)
		}
	}
}

// nodes are about what stands there.
func (d *doctor) nodes(v *view) {
	for i := range v.snap.Nodes {
		n := &v.snap.Nodes[i]
		for _, s := range n.States() {
			known := slices.ContainsFunc(v.report.Runtimes, func(r status.RuntimeReport) bool { return r.Name == s.Runtime })
			switch {
			case s.Problem != "":
				d.wrong("take the annotation off to have the node installed anew", "node %s: annotation %s: %s", n.Name, observed.ProgressKey(s.Runtime), s.Problem)
			case !known && (s.Held || s.Retry != ""):
				d.note("node %s has an annotation of people for runtime %q, which is not there", n.Name, s.Runtime)
			}
		}
	}
}

// access is about payloads with a token of their own.
func (d *doctor) access(ctx context.Context, v *view) {
	wants := ""
	for i := range v.plan.Runtimes {
		if s := v.plan.Runtimes[i].Spec; s != nil && s.NodeAccess == spec.NodeAccessOwn {
			wants = v.plan.Runtimes[i].Name
		}
	}
	if wants == "" {
		return
	}
	_, err := d.kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, "longshore-node-access", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		d.wrong(deploy, "payloads of runtime %q may change their nodes, and the admission policy longshore-node-access that confines them is not there", wants)
	case err != nil:
		d.unknown("the admission policy of node access", err)
	}
}
