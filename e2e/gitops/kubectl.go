package gitops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"longshore.dev/longshore/e2e/cluster"
)

// kubectl is a person with `kubectl apply -k`, `kubectl delete -k` and `longshore wait -f`.
type kubectl struct {
	c *cluster.Cluster
	// program is Longshore's command.
	program string
	dir     string
	// applied are the objects of each application as they were applied last, by namespace and name.
	applied map[string]map[string]string
	// refused is why the last apply of an application failed.
	refused map[string]error
}

func (k *kubectl) name() string { return "kubectl" }

func (k *kubectl) waves() bool { return false }

func (k *kubectl) repeats() bool { return true }

func (k *kubectl) follow(context.Context, *app) error { return nil }

// look applies the folder, and deletes what the last state of it had and this one has not: `kubectl apply` never
// prunes.
func (k *kubectl) look(ctx context.Context, a *app) error {
	now := map[string]string{}
	folder := filepath.Join(a.repo.tree, a.path)
	if _, err := os.Stat(folder); err == nil {
		// People see this themselves; the scenario goes on with it as the verdict.
		if _, k.refused[a.name] = k.c.Kubectl(ctx, "apply", "--kustomize", folder); k.refused[a.name] != nil {
			return nil //nolint:nilerr // it is kept as what kubectl says
		}
		text, err := k.c.Kubectl(ctx, "kustomize", folder)
		if err != nil {
			return err
		}
		if err := os.WriteFile(k.file(a), []byte(text), 0o600); err != nil {
			return err
		}
		if now, err = names([]byte(text)); err != nil {
			return err
		}
	}
	before := k.applied[a.name]
	k.applied[a.name] = now
	if a.keep {
		return nil
	}
	for key, resource := range before {
		if _, kept := now[key]; kept {
			continue
		}
		namespace, _, _ := strings.Cut(key, "/")
		kind, name, _ := strings.Cut(resource, "/")
		if err := remove(ctx, k.c, namespace, kind, name); err != nil {
			return err
		}
	}
	return nil
}

func (k *kubectl) file(a *app) string { return filepath.Join(k.dir, a.name+".yaml") }

// names are the objects of a text as kind/name, by namespace, kind and name.
func names(text []byte) (map[string]string, error) {
	objects, err := decode(text)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, object := range objects {
		resource := strings.ToLower(object.GetKind()) + "/" + object.GetName()
		found[object.GetNamespace()+"/"+resource] = resource
	}
	return found, nil
}

// says asks `longshore wait -f` for a moment. It ends at once with 1 if something is wrong that waiting does not
// mend.
func (k *kubectl) says(ctx context.Context, a *app, _ string) (verdict, error) {
	if err := k.refused[a.name]; err != nil {
		return verdict{kind: bad, words: strings.ReplaceAll(err.Error(), a.repo.tree+"/", "")}, nil
	}
	text, err := os.ReadFile(k.file(a))
	if err != nil {
		return verdict{}, err
	}
	if !bytes.Contains(text, []byte(domain+"runtime:")) {
		return verdict{kind: good, words: "applied; no spec to wait for"}, nil
	}
	cmd := exec.CommandContext(ctx, k.program, "wait", "--kubeconfig="+k.c.Kubeconfig(), "--timeout=3s", "-f", k.file(a))
	cmd.Env = []string{"HOME=/nonexistent"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	said := strings.TrimSpace(out.String())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return verdict{kind: good, words: "exit 0: " + said}, nil
	case !errors.As(err, &exit):
		return verdict{}, err
	case strings.Contains(said, "not ready after"):
		return verdict{kind: busy, words: said}, nil
	}
	return verdict{kind: bad, words: fmt.Sprintf("exit %d: %s", exit.ExitCode(), said)}, nil
}

// forget deletes what was applied last.
func (k *kubectl) forget(ctx context.Context, a *app) error {
	if _, err := os.Stat(k.file(a)); err != nil {
		return nil //nolint:nilerr // nothing was ever applied
	}
	delete(k.applied, a.name)
	_, err := k.c.Kubectl(ctx, "delete", "--ignore-not-found", "--timeout=90s", "--filename", k.file(a))
	return err
}

func (k *kubectl) leave(context.Context, *app) error { return nil }
