package gitops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"longshore.dev/longshore/e2e/cluster"
	"longshore.dev/longshore/e2e/deploy"
)

// shipped are the objects of a folder below gitops/ that users copy.
type shipped struct {
	folder  string
	objects []*unstructured.Unstructured
}

// readShipped reads all files of the folder.
func readShipped(folder string) (*shipped, error) {
	source, err := deploy.Source()
	if err != nil {
		return nil, err
	}
	s := &shipped{folder: filepath.Join(source, "gitops", folder)}
	files, err := filepath.Glob(filepath.Join(s.folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		s.objects = append(s.objects, objects...)
	}
	return s, nil
}

// decode reads the objects of a file; a kustomization is none.
func decode(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if object.GetName() != "" && object.GetKind() != "" {
			objects = append(objects, object)
		}
	}
}

// find returns a copy of the one object of that kind whose name has the word in it, and that satisfies nothing
// else.
func (s *shipped) find(kind, word string) (*unstructured.Unstructured, error) {
	var names []string
	for _, object := range s.objects {
		if object.GetKind() != kind {
			continue
		}
		if strings.Contains(object.GetName(), word) {
			return object.DeepCopy(), nil
		}
		names = append(names, object.GetName())
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%s: no %s with %q in its name, found %q", s.folder, kind, word, names)
}

// set sets a field by its path, with dots. The objects are ours, so a path that cannot be set is a mistake in the
// test.
func set(object *unstructured.Unstructured, value any, path ...string) error {
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		return fmt.Errorf("%s %q: %s: %w", object.GetKind(), object.GetName(), strings.Join(path, "."), err)
	}
	return nil
}

// read reads an object into a type that has what the caller wants to know.
func read(ctx context.Context, objects dynamic.ResourceInterface, name string, into any) error {
	found, err := objects.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	text, err := found.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// merge changes an object by a merge patch.
func merge(ctx context.Context, objects dynamic.ResourceInterface, name, patch string) error {
	_, err := objects.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// remove deletes an object, and returns when its finalizers are done.
func remove(ctx context.Context, c *cluster.Cluster, namespace, kind, name string) error {
	_, err := c.Kubectl(ctx, "--namespace="+namespace, "delete", "--ignore-not-found", "--timeout=90s", kind, name)
	return err
}

// apply brings an object into the cluster, as the test's own field manager.
func apply(ctx context.Context, c *cluster.Cluster, object *unstructured.Unstructured) error {
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	args := []string{"apply", "--server-side", "--field-manager=tests", "--force-conflicts", "--filename=-"}
	cmd, err := c.KubectlCommand(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("applying %s %q: %w: %s", object.GetKind(), object.GetName(), err, out)
	}
	return nil
}
