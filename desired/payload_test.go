package desired_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"longshore.dev/longshore/desired"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

const try = "registry.example.com/me/payload:try"

// tried is the second snapshot of a spec, with another payload.
func tried(s observed.Spec, image string) observed.Revision {
	r := revision(2, s, observed.AnnotationPayload, image)
	parsed, errs := spec.Parse(s.Runtime, s.Data, nil)
	if len(errs) > 0 {
		panic(errs.ToAggregate())
	}
	r.Revision = parsed.WithPayload(image).Revision()
	r.Name = observed.RevisionName(s.Runtime, r.Revision)
	r.Content.Hashed = map[string]any{"payloadImage": image, "overridden": true}
	return r
}

func TestAPayloadOfPayloadConfigIsARevisionLikeAnyOther(t *testing.T) {
	one, two := specOf("kata-1", 20, data("one")), specOf("kata-1", 20, data("two"))
	other := of("other", specOf("other", 30, data("one", "runtimeClasses", "[]")))
	const plain = " -nothing-selected -payload -vanished"
	const mark = " -nothing-selected +payload=" + try + " -vanished"
	named := map[string]string{"daemon.payload": try}
	cases := map[string]struct {
		world
		config map[string]string
		want   []string
	}{
		"before the first revision": {
			world{specs: []observed.Spec{one}, nodes: []observed.Node{node("a", "use")}},
			named,
			[]string{"source kata-1", "prepare new try as 1" + mark},
		},
		"while the spec's payload is in force": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}, nodes: []observed.Node{node("a", "use")}},
			named,
			[]string{"source kata-1", "in force one", "prepare new try as 2" + mark, "a Installed Selected"},
		},
		"in force": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one), tried(one, try)}, nodes: []observed.Node{node("a", "use")}},
			named,
			[]string{"source kata-1", "in force try", "a Installed Selected"},
		},
		"taken off: back to the payload of the spec": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one), tried(one, try)}, nodes: []observed.Node{node("a", "use")}},
			nil,
			[]string{"source kata-1", "in force try", "prepare mark one as 3" + plain, "a Installed Selected"},
		},
		"another image": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{tried(one, try)}},
			map[string]string{"kata.payload": try + "2"},
			[]string{"source kata-1", "in force try", "prepare new try2 as 3 -nothing-selected +payload=" + try + "2 -vanished"},
		},
		"the payload of the spec changes, which nobody runs": {
			world{specs: []observed.Spec{two}, history: []observed.Revision{tried(one, try)}},
			named,
			[]string{"source kata-1", "in force try", "prepare mark one as 2" + mark},
		},
		"the spec is gone: what is in force stays so": {
			world{history: []observed.Revision{tried(one, try)}, nodes: []observed.Node{node("a", "kata=x")}},
			nil,
			[]string{"in force try", "prepare mark one as 2 +vanished=2026-11-20T12:00:00Z", "a Keep Vanished"},
		},
		"a second runtime makes it an error, and what is in force stays so": {
			world{specs: []observed.Spec{one, other}, history: []observed.Revision{tried(one, try)}, nodes: []observed.Node{node("a", "use")}},
			named,
			[]string{"source kata-1", "error ConfigMap payload-config.data[daemon.payload]", "in force try", "a Installed Selected"},
		},
		"a slip in it does not keep the spec from being obeyed otherwise": {
			world{specs: []observed.Spec{specOf("kata-1", 20, data("one", "paused", "true"))}, history: []observed.Revision{tried(one, try)}, nodes: []observed.Node{node("a", "use")}},
			map[string]string{"other": try},
			[]string{"source kata-1", "error ConfigMap payload-config.data[other]", "in force try", "prepare mark one as 2" + mark, "a Installed Selected"},
		},
		"a slip in it keeps a spec that never was in force from beginning": {
			world{specs: []observed.Spec{one}, nodes: []observed.Node{node("a", "use")}},
			map[string]string{"other": try},
			[]string{"source kata-1", "error ConfigMap payload-config.data[other]"},
		},
		"what was meant for one whose spec is away for a moment is meant for no other": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, other), revision(1, one)}, nodes: []observed.Node{node("a", "use")}},
			named,
			[]string{"source kata-1", "error ConfigMap payload-config.data[daemon.payload]", "in force one", "a Installed Selected"},
		},
		"a slip in it changes nothing": {
			world{specs: []observed.Spec{one}, history: []observed.Revision{tried(one, try)}, nodes: []observed.Node{node("a", "use")}},
			map[string]string{"deamon.payload ": try},
			[]string{"source kata-1", "error ConfigMap payload-config.data[deamon.payload ]", "in force try", "a Installed Selected"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			if c.config != nil {
				snap.PayloadConfig = &observed.PayloadConfig{Name: "payload-config", Data: c.config}
			}
			plan := desired.Of(snap, spec.Parse, desired.DefaultOptions())
			if diff := cmp.Diff(c.want, c.tell(snap, plan)); diff != "" {
				t.Errorf("want (-) and got (+):\n%s", diff)
			}
		})
	}
}

func TestAPayloadConfigThatIsBeingDeletedSaysNothing(t *testing.T) {
	w := world{specs: []observed.Spec{specOf("kata-1", 20, data("one"))}}
	snap := w.snapshot()
	snap.PayloadConfig = &observed.PayloadConfig{Data: map[string]string{"daemon.payload": try}, Deleting: true}
	if r := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Runtimes[0]; r.Prepare.New.Overridden {
		t.Errorf("prepared %s", r.Prepare.New.PayloadImage)
	}
}

func TestNamesInPayloadConfigThatNobodyHasAreTold(t *testing.T) {
	w := world{specs: []observed.Spec{specOf("kata-1", 20, data("one"))}}
	snap := w.snapshot()
	snap.PayloadConfig = &observed.PayloadConfig{Data: map[string]string{"kata.payload": try, "katta.payload": try, "gvisor.payload": try}}
	if got := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Unmeant; !slices.Equal(got, []string{"gvisor", "katta"}) {
		t.Errorf("not meant: %q", got)
	}
}

func TestWhichRegistriesTheCredentialsReach(t *testing.T) {
	one := specOf("kata-1", 20, data("one"))
	fetched := specOf("kata-1", 20, data("one", "installerImage", "quay.io/team/installer:1"))
	secret := func(registry string) *observed.PayloadSecret {
		return &observed.PayloadSecret{Exists: true, Registry: registry, Username: observed.Hide("robot"), Password: observed.Hide("hunter2")}
	}
	byInstaller := tried(fetched, try)
	byInstaller.Content.Hashed["installerImage"] = "quay.io/team/installer:1"
	cases := map[string]struct {
		world
		secret *observed.PayloadSecret
		config string
		want   []string
		errors int
	}{
		"no Secret":                                  {world: world{specs: []observed.Spec{one}}, secret: &observed.PayloadSecret{}, config: try},
		"nobody looked":                              {world: world{specs: []observed.Spec{one}}, config: try},
		"for the registry named":                     {world: world{specs: []observed.Spec{one}}, secret: secret("quay.io"), config: try, want: []string{"quay.io"}},
		"for no registry that only a spec names":     {world: world{specs: []observed.Spec{one}, history: []observed.Revision{revision(1, one)}}, secret: secret("")},
		"for the image that is about to be in force": {world: world{specs: []observed.Spec{one}}, secret: secret(""), config: try, want: []string{"registry.example.com"}},
		"for the image that was in force, for the uninstall": {
			world: world{specs: []observed.Spec{one}, history: []observed.Revision{revision(3, one), tried(one, "quay.io/me/payload:0")}}, secret: secret(""), want: []string{"quay.io"},
		},
		"not where the installer fetches the payload": {world: world{specs: []observed.Spec{fetched}, history: []observed.Revision{byInstaller}}, secret: secret(""), config: try},
		"not where it is unusable":                    {world: world{specs: []observed.Spec{one}}, secret: &observed.PayloadSecret{Exists: true, Username: observed.Hide("robot")}, config: try, errors: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			snap := c.snapshot()
			snap.PayloadSecret = c.secret
			if c.config != "" {
				snap.PayloadConfig = &observed.PayloadConfig{Data: map[string]string{"daemon.payload": c.config}}
			}
			pull := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Pull
			if !slices.Equal(pull.Registries, c.want) || len(pull.Errors) != c.errors {
				t.Errorf("for %q (%v), expected %q", pull.Registries, pull.Errors, c.want)
			}
		})
	}
}

func TestWhatARefusedPullWouldHaveNeeded(t *testing.T) {
	const image = "registry.example.com/team/payload:1"
	const refused = `failed to pull and unpack image "registry.example.com/team/payload:1": failed to resolve reference: unexpected status from HEAD request: 401 Unauthorized`
	usable := func(registry string) *observed.PayloadSecret {
		return &observed.PayloadSecret{Exists: true, Registry: registry, Username: observed.Hide("robot"), Password: observed.Hide("hunter2")}
	}
	for name, c := range map[string]struct {
		secret  *observed.PayloadSecret
		message string
		want    string
	}{
		"there is none":         {&observed.PayloadSecret{}, refused, `there is no Secret "payload-secret" in namespace "longshore", and the spec's imagePullSecrets did not do`},
		"it is for another":     {usable("quay.io"), refused, `Secret "payload-secret" in namespace "longshore" is for quay.io only; name a pull secret for registry.example.com in the spec's imagePullSecrets`},
		"it is for none":        {usable(""), refused, `Secret "payload-secret" in namespace "longshore" is not for this registry: add the key registry: registry.example.com`},
		"it is refused":         {usable("registry.example.com"), refused, `the registry refuses the credentials of Secret "payload-secret" in namespace "longshore"`},
		"it cannot be used":     {&observed.PayloadSecret{Exists: true, Registry: "registry.example.com", Username: observed.Hide("robot")}, refused, `Secret "payload-secret" in namespace "longshore" cannot be used: Secret payload-secret.data[password]: Required value`},
		"nobody looked":         {nil, refused, `the registry wants other credentials: those of Secret "payload-secret" in namespace "longshore", or of the spec's imagePullSecrets there`},
		"denied":                {&observed.PayloadSecret{}, "pull access denied, repository does not exist or may require authorization", "there is no Secret"},
		"it is something else":  {&observed.PayloadSecret{}, "dial tcp: lookup registry.example.com: no such host", ""},
		"only its name says it": {&observed.PayloadSecret{}, `failed to pull "registry.example.com/team/payload:1": not found; digest sha256:401403 denied`, ""},
		"a disk says it":        {&observed.PayloadSecret{}, "open /var/lib/containerd: permission denied: x", ""},
		"nothing was said":      {&observed.PayloadSecret{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			snap := (&world{}).snapshot()
			snap.Namespace, snap.PayloadSecret = "longshore", c.secret
			got := desired.Of(snap, spec.Parse, desired.DefaultOptions()).Advice(snap, image, c.message)
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("advice %q, expected %q", got, c.want)
			}
		})
	}
}
