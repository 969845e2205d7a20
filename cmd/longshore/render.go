package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/informers"
	"longshore.dev/longshore/manifests"
	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/spec"
)

// specOptions are the flags of the commands that read specs from files.
type specOptions struct {
	rendering
	files     []string
	namespace string
	siteDir   string
}

func (o *specOptions) bind(cmd *cobra.Command) {
	o.flags(cmd.Flags())
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file or directory with specs; - for standard input")
	cmd.Flags().StringVarP(&o.namespace, "namespace", "n", manifests.DefaultNamespace, "namespace of the installers")
	cmd.Flags().StringVar(&o.siteDir, "site-dir", "", "directory of the site's kustomize component")
}

// sited is a renderer with the site's component.
func (o *specOptions) sited() (*manifests.Renderer, error) {
	renderer := o.renderer(o.namespace)
	if o.siteDir == "" {
		return renderer, nil
	}
	files, err := informers.NewFiles(o.siteDir, 0).Read()
	if err != nil {
		return nil, err
	}
	return renderer, renderer.SetSite(files)
}

// parse reads the spec, or says all that is wrong with it. Of a pool that is valid nothing is returned: it becomes no objects.
func (d *document) parse() (*spec.Runtime, field.ErrorList) {
	pool, isPool := d.spec.Labels[observed.LabelPool]
	_, isSpec := d.spec.Labels[observed.LabelRuntime]
	if isPool && !isSpec {
		_, errs := spec.ParsePool(pool, d.spec.Data, d.spec.BinaryData)
		return nil, errs
	}
	runtime, errs := spec.Parse(d.runtime(), d.spec.Data, d.spec.BinaryData)
	if isPool {
		return nil, append(field.ErrorList{spec.BothLabels()}, errs...)
	}
	return runtime, errs
}

// objects parses and renders one spec.
func (d *document) objects(ctx context.Context, renderer *manifests.Renderer) (*spec.Runtime, *manifests.Objects, field.ErrorList) {
	runtime, errs := d.parse()
	if len(errs) > 0 || runtime == nil {
		return nil, nil, errs
	}
	objects, errs := renderer.Render(ctx, runtime)
	return runtime, objects, errs
}

// elsewhere is the error of a spec in a namespace where nobody reads it.
func (d *document) elsewhere(namespace string) field.ErrorList {
	if d.spec.Namespace == "" || d.spec.Namespace == namespace {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "namespace"), d.spec.Namespace, fmt.Sprintf("Longshore reads only specs in namespace %q; --namespace says where", namespace))}
}

func (d *document) wrong(errs field.ErrorList) error {
	lines := make([]error, 0, len(errs))
	for _, e := range errs {
		lines = append(lines, fmt.Errorf("%s: %w", d, e))
	}
	return errors.Join(lines...)
}

func renderCommand(env *environment) *cobra.Command {
	o := &specOptions{}
	cmd := &cobra.Command{
		Use:   "render [FILE…]",
		Short: "Print the objects that specs become",
		Long:  "Print the objects that specs become: DaemonSets and RuntimeClasses, just as the controller keeps them. Without a file the standard input is read.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.render(cmd.Context(), append(o.files, args...), env)
		},
	}
	o.bind(cmd)
	return cmd
}

func (o *specOptions) render(ctx context.Context, files []string, env *environment) error {
	renderer, err := o.sited()
	if err != nil {
		return err
	}
	documents, err := readSpecs(files, env.stdin)
	errs := []error{err}
	first := true
	for i := range documents {
		_, objects, wrong := documents[i].objects(ctx, renderer)
		if len(wrong) > 0 {
			errs = append(errs, documents[i].wrong(wrong))
			continue
		}
		if objects == nil {
			continue
		}
		var list []any
		for _, step := range slices.Sorted(maps.Keys(objects.DaemonSets)) {
			list = append(list, objects.DaemonSets[step])
		}
		for _, class := range objects.RuntimeClasses {
			list = append(list, class)
		}
		for _, object := range list {
			if err := printObject(env.stdout, object, first); err != nil {
				return err
			}
			first = false
		}
	}
	return errors.Join(errs...)
}

// printObject writes an object as YAML, without the empty status that typed objects have.
func printObject(w io.Writer, object any, first bool) error { //nolint:revive // the separator stands between documents only
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	delete(content, "status")
	text, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	if !first {
		text = append([]byte("---\n"), text...)
	}
	_, err = w.Write(text)
	return err
}

func validateCommand(env *environment) *cobra.Command {
	o := &specOptions{}
	cmd := &cobra.Command{
		Use:   "validate [FILE…]",
		Short: "Check specs: every error of every file at once",
		Long:  "Check specs without a cluster: parsed, rendered and checked just as by the controller. Every error of every file is printed; exit code 1 if there is any.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.validate(cmd.Context(), append(o.files, args...), env)
		},
	}
	o.bind(cmd)
	return cmd
}

func (o *specOptions) validate(ctx context.Context, files []string, env *environment) error {
	renderer, err := o.sited()
	if err != nil {
		return err
	}
	documents, err := readSpecs(files, env.stdin)
	good, all := 0, err == nil
	if err != nil {
		fmt.Fprintln(env.stderr, err)
	}
	for i := range documents {
		d := &documents[i]
		runtime, _, errs := d.objects(ctx, renderer)
		errs = append(d.elsewhere(o.namespace), errs...)
		if len(errs) > 0 {
			fmt.Fprintln(env.stderr, d.wrong(errs))
			all = false
			continue
		}
		if runtime == nil {
			fmt.Fprintf(env.stdout, "%s: pool %q is valid\n", d, d.spec.Labels[observed.LabelPool])
			continue
		}
		good++
		fmt.Fprintf(env.stdout, "%s: runtime %q is valid, revision %s\n", d, d.runtime(), runtime.Revision())
	}
	if !all {
		return fmt.Errorf("not everything is valid; %d specs are", good)
	}
	return nil
}
