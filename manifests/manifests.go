// Package manifests answers: which objects is that?
//
// It makes from a runtime the objects that install it: DaemonSets and RuntimeClasses, rendered by kustomize in memory from
// the embedded base, the site's component and the spec's patches, and checked before anybody sees them.
//
//	base ──fill──► resources ──site component──► ──patches of the spec──► check ──► Objects ──► ControllerRevision ──► DaemonSet
package manifests

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// The steps that every runtime has. With completion Exit and Ready the commands of an operation are in one pod; with NodeLabel there are more steps,
// each with a DaemonSet of its own.
const (
	StepInstall   = observed.StepInstall
	StepUninstall = observed.StepUninstall
)

// Defaults of [Options].
const (
	DefaultNamespace         = "longshore"
	DefaultServiceAccount    = "longshore-installer"
	DefaultNodeAccessAccount = "longshore-node-access"
)

// Options are what every render of a controller has in common.
type Options struct {
	// Namespace is where installers run; "" is DefaultNamespace.
	Namespace string
	// ServiceAccount is the account of installer pods, which has no rights; "" is DefaultServiceAccount.
	ServiceAccount string
	// NodeAccessAccount is the account of installer pods with nodeAccess: Own; "" is DefaultNodeAccessAccount.
	NodeAccessAccount string
	// PauseImage is the controller's own image: the main container of an installer pod runs `/longshore pause-container`.
	PauseImage string
	Policy     Policy
}

// Policy is what the cluster's operator allows in rendered objects. Empty lists allow everything.
type Policy struct {
	// AllowedRegistries are registries (`ghcr.io`) or repositories below one (`ghcr.io/acme`).
	AllowedRegistries []string
	// AllowedHostPaths are directories: they and what is below them may be mounted.
	AllowedHostPaths []string
	// RequireDigest refuses images that are not given by digest.
	RequireDigest bool
}

// Objects are what a runtime becomes at one revision. They are shared with the renderer's cache: copy before a change.
type Objects struct {
	Runtime  string
	Revision string
	// DaemonSets are the installers by step, without owners, pull secrets of the spec and its pull policy.
	DaemonSets     map[string]*appsv1.DaemonSet
	RuntimeClasses []*nodev1.RuntimeClass
}

// Renderer renders runtimes. It may be used from several goroutines; they take turns.
type Renderer struct {
	options Options

	mu    sync.Mutex
	base  *base
	site  *site
	cache cache
	// refused is why there is no component in force where one was meant to be: none was sound since the start.
	refused error
	// known is true when it is known what the site's component is.
	known bool
}

// NewRenderer returns a renderer without a site component.
func NewRenderer(o Options) *Renderer {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.ServiceAccount == "" {
		o.ServiceAccount = DefaultServiceAccount
	}
	if o.NodeAccessAccount == "" {
		o.NodeAccessAccount = DefaultNodeAccessAccount
	}
	return &Renderer{options: o}
}

// SetSite replaces the site's component by these files, by name. Files that make no sound component are an error, and the
// last good one stays in force; where there was none yet, nothing is rendered, for a node would get an installer without what the site
// needs. No files at all is no component.
func (r *Renderer) SetSite(files map[string][]byte) error {
	next, err := parseSite(files)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && !next.equal(r.site) {
		err = r.try(next)
	}
	if err != nil {
		err = fmt.Errorf("site component: %w", err)
		if !r.known {
			r.refused = err
		}
		return err
	}
	r.site, r.known, r.refused = next, true, nil
	return nil
}

// Render returns the objects of the runtime. Every violation is an error of its own that names the object and the path in it.
// The result comes from a cache when nothing that goes into it has changed.
func (r *Renderer) Render(ctx context.Context, rt *spec.Runtime) (*Objects, field.ErrorList) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, field.ErrorList{field.InternalError(nil, err)}
	}
	if r.refused != nil {
		return nil, field.ErrorList{field.InternalError(nil, fmt.Errorf("nothing is rendered before there is a sound one: %w", r.refused))}
	}
	key, err := cacheKey(rt, r.site)
	if err != nil {
		return nil, field.ErrorList{field.InternalError(nil, err)}
	}
	if hit, ok := r.cache.get(key); ok {
		return hit.objects, hit.errs
	}
	objects, errs := r.render(rt, r.site)
	r.cache.put(key, rendered{objects: objects, errs: errs})
	return objects, errs
}

// render is a render without the cache. The renderer's lock is held.
func (r *Renderer) render(rt *spec.Runtime, s *site) (*Objects, field.ErrorList) {
	if r.options.PauseImage == "" {
		return nil, field.ErrorList{field.Required(field.NewPath("options", "pauseImage"), "the controller's own image, which installer pods end in")}
	}
	if r.base == nil {
		b, err := loadBase()
		if err != nil {
			return nil, field.ErrorList{field.InternalError(nil, err)}
		}
		r.base = b
	}
	patches, errs := specPatches(rt.Patches)
	if len(errs) > 0 {
		return nil, errs
	}
	f := filler{options: &r.options, base: r.base, runtime: rt, revision: rt.Revision()}
	want := f.objects()
	out, errs := build(want, s, patches)
	if len(errs) > 0 {
		return nil, errs
	}
	got, errs := decode(out, want)
	if len(errs) > 0 {
		return nil, errs
	}
	c := checker{options: &r.options, want: want}
	if rt.InstallerImage != "" {
		c.image(field.NewPath("data").Key("payloadImage"), rt.PayloadImage)
	}
	if errs := c.check(got); len(errs) > 0 {
		return nil, errs
	}
	got.rename()
	return got, nil
}

// cacheKey is a digest of everything that differs between two renders of one renderer. What only says where and how
// carefully is left out; a field that is new in spec.Runtime is in until somebody leaves it out here.
func cacheKey(rt *spec.Runtime, s *site) ([sha256.Size]byte, error) {
	key := *rt
	key.ImagePullPolicy, key.ImagePullSecrets = "", nil
	key.NodeSelector, key.NodeSelectorText, key.Waves = nil, "", nil
	key.MaxUnavailable, key.MaxFailed, key.OnFailure = intstr.IntOrString{}, intstr.IntOrString{}, ""
	key.Soak, key.InstallTimeout, key.Attempts = 0, 0, 0
	key.Drain, key.Paused, key.DeletionPolicy, key.InUsePolicy = "", false, "", ""
	key.DeletionGrace, key.DeselectionGrace = nil, nil
	text, err := json.Marshal(struct {
		Runtime *spec.Runtime
		Site    [sha256.Size]byte
	}{&key, s.digest()})
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("runtime %q: %w", rt.Name, err)
	}
	return sha256.Sum256(text), nil
}
