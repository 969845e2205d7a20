package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"longshore.dev/longshore/e2e/deploy"
	"longshore.dev/longshore/e2e/images"
	"longshore.dev/longshore/e2e/payloads"
)

const podText = `apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:%[2]s
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: %[3]q, command: [sleep, "100000"]}
`

// prove runs the same pod twice, under the new runtime and under the default one, and has both looked at by the same check.
func (d *demo) prove(ctx context.Context) error {
	d.title("A pod with `runtimeClassName: crun`, and the same pod without")
	shell, err := images.Shell(ctx, d.out)
	if err != nil {
		return err
	}
	image, err := deploy.Payload(ctx, d.cluster, "shell:1", images.Image{Layers: [][]images.File{shell}})
	if err != nil {
		return err
	}
	for name, class := range map[string]string{"with-crun": "\n  runtimeClassName: crun", "with-default": ""} {
		if err := d.runPod(ctx, name, fmt.Sprintf(podText, name, class, image)); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.out, "the check: %s\n  crun hides /sys/firmware from a container by a tmpfs of size 0, runc by one of 4k; the container itself sees which\n",
		strings.Join(payloads.CrunProof, " "))
	seen, err := d.look(ctx, "with-crun")
	if err != nil {
		return fmt.Errorf("the pod with the RuntimeClass does not run under crun: %w", err)
	}
	fmt.Fprintf(d.out, "with-crun     proven:  %s\n", seen)
	if seen, err = d.look(ctx, "with-default"); err == nil {
		return fmt.Errorf("the check proves nothing: it succeeds under the default runtime as well: %s", seen)
	}
	fmt.Fprintln(d.out, "with-default  not so:  the same check fails there, as it has to")

	_, err = d.cluster.Kubectl(ctx, "delete", "pod", "with-crun", "with-default", "--wait")
	return err
}

func (d *demo) runPod(ctx context.Context, name, text string) error {
	file, err := os.CreateTemp("", "longshore-demo-*.yaml")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if _, err := d.cluster.Kubectl(ctx, "create", "--filename", file.Name()); err != nil {
		return err
	}
	_, err = d.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", "pod/"+name, "--timeout="+(2*time.Minute).String())
	return err
}

// look runs the check in a pod.
func (d *demo) look(ctx context.Context, pod string) (string, error) {
	out, err := d.cluster.Kubectl(ctx, append([]string{"exec", pod, "--"}, payloads.CrunProof...)...)
	return strings.TrimSpace(out), err
}
