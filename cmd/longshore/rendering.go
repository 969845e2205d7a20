package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
)

// rendering are the flags that say how runtimes are rendered; the controller and the commands share them.
type rendering struct {
	pauseImage string
	policy     manifests.Policy
}

func (r *rendering) flags(set *pflag.FlagSet) {
	set.StringVar(&r.pauseImage, "pause-image", "longshore:latest", "the controller's own image, which waits in installer pods")
	set.StringSliceVar(&r.policy.AllowedRegistries, "allowed-registries", nil, "registries, or repositories below one, that images may come from; none given allows all")
	set.StringSliceVar(&r.policy.AllowedHostPaths, "allowed-host-paths", nil, "directories of the node that installers may mount, with what is below; none given allows all")
	set.BoolVar(&r.policy.RequireDigest, "require-digest", false, "refuse images that are not given by digest")
}

func (r *rendering) renderer(namespace string) *manifests.Renderer {
	return manifests.NewRenderer(manifests.Options{Namespace: namespace, PauseImage: r.pauseImage, Policy: r.policy})
}

// document is one spec or pool found in a file.
type document struct {
	file string
	spec corev1.ConfigMap
}

// runtime is the runtime's name.
func (d *document) runtime() string { return d.spec.Labels[observed.LabelRuntime] }

// String names the ConfigMap and the file that it stands in.
func (d *document) String() string {
	return fmt.Sprintf("%s: ConfigMap %q", d.file, d.spec.Name)
}

// readSpecs reads the specs and pools in files, in the YAML files of directories, and in the standard input where the name is "-". Other
// objects beside them are passed over. Everything that cannot be read is an error; what can be is returned all the same.
func readSpecs(names []string, stdin io.Reader) ([]document, error) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	var documents []document
	var errs []error
	for _, name := range names {
		found, err := readAll(name, stdin)
		if _, no := os.Stat(filepath.Join(name, "kustomization.yaml")); no == nil && len(found) == 0 {
			err = errors.Join(err, fmt.Errorf("%s is a kustomization and has no whole specs: build it, as in `kustomize build %s | longshore validate`", name, name))
		}
		documents = append(documents, found...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(documents) == 0 && len(errs) == 0 {
		where := make([]string, 0, len(names))
		for _, name := range names {
			where = append(where, shown(name))
		}
		errs = append(errs, fmt.Errorf("no spec found in %s: a spec is a ConfigMap with the label %s", strings.Join(where, ", "), observed.LabelRuntime))
	}
	return documents, errors.Join(errs...)
}

// shown is what people call a file.
func shown(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// expand is the files that a name stands for.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var files []string
	for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
		found, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return files, nil
}

// readAll reads a file, or the files of a directory.
func readAll(name string, stdin io.Reader) ([]document, error) {
	files, err := expand(name)
	if err != nil {
		return nil, err
	}
	var documents []document
	var errs []error
	for _, file := range files {
		found, err := readFile(file, stdin)
		documents = append(documents, found...)
		errs = append(errs, err)
	}
	return documents, errors.Join(errs...)
}

func readFile(name string, stdin io.Reader) ([]document, error) {
	var content []byte
	var err error
	if name == "-" {
		content, err = io.ReadAll(stdin)
	} else {
		content, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	name = shown(name)
	var documents []document
	var errs []error
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for number := 0; ; number++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return documents, errors.Join(append(errs, fmt.Errorf("%s: %w", name, err))...)
		}
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(text, &meta); err != nil {
			if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field == "" {
				err = fmt.Errorf("expected a Kubernetes object, found a YAML %s", wrong.Value)
			}
			errs = append(errs, fmt.Errorf("%s: document %d: %w", name, number+1, err))
			continue
		}
		if meta.Kind == "List" {
			errs = append(errs, fmt.Errorf("%s: document %d: kind List is not read: put each ConfigMap into a document of its own", name, number+1))
			continue
		}
		_, isPool := meta.Labels[observed.LabelPool]
		if meta.Kind != "ConfigMap" || (meta.Labels[observed.LabelRuntime] == "" && !isPool) {
			continue
		}
		d := document{file: name}
		if err := decodeStrict(text, &d.spec); err != nil {
			errs = append(errs, fmt.Errorf("%s: document %d: ConfigMap %q: %w", name, number+1, meta.Name, err))
			continue
		}
		documents = append(documents, d)
	}
	return documents, errors.Join(errs...)
}

// decodeStrict reads an object as the API server does: a value that is no text where one is expected is an error. The YAML library by itself takes
// a number for its digits.
func decodeStrict(text []byte, cm *corev1.ConfigMap) error {
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	var loose struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(raw, &loose); err != nil {
		return err
	}
	var wrong field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(loose.Data)) {
		if value := loose.Data[key]; !isText(value) {
			wrong = append(wrong, field.TypeInvalid(field.NewPath("data").Key(key), value, "expected a string: put it in quotes, or a block behind |"))
		}
	}
	if len(wrong) > 0 {
		return errors.New(plain(wrong.ToAggregate().Error()))
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	return decoder.Decode(cm)
}

func isText(value any) bool {
	_, ok := value.(string)
	return ok
}
