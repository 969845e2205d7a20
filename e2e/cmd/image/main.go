// Command image answers: how does the controller get into an image without Docker?
//
// It builds the program, puts it into an image from an empty base, and writes that to a tar file or a registry.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"longshore.dev/longshore/e2e/images"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		return 1
	}
	return 0
}

type options struct {
	source, version, output string
	target                  images.Target
	push                    bool
}

func command() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "image", Short: "Build the controller's image", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Long: "image builds the controller's image from an empty base: --output writes a tar file that docker, podman and ctr load, --push sends it to\n" +
			"the registry of its tag, as the user in REGISTRY_USERNAME and REGISTRY_PASSWORD if there is one. Equal sources give equal digests.",
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.source, "source", "..", "folder of the repository")
	cmd.Flags().StringVar(&o.version, "version", "dev", "version that the program reports")
	cmd.Flags().StringVar(&o.target.Ref, "tag", "longshore:dev", "name of the image")
	cmd.Flags().StringVar(&o.output, "output", "", "tar file to write")
	cmd.Flags().BoolVar(&o.push, "push", false, "push to the registry of the tag")
	cmd.Flags().BoolVar(&o.target.PlainHTTP, "plain-http", false, "push without TLS")
	return cmd
}

func (o *options) run(ctx context.Context) error {
	if o.output == "" && !o.push {
		return errors.New("nothing to do with the image: give --output FILE, --push or both")
	}
	image, err := images.Controller(ctx, o.source, o.version)
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := o.save(image); err != nil {
			return err
		}
	}
	if !o.push {
		return nil
	}
	o.target.Username, o.target.Password = os.Getenv("REGISTRY_USERNAME"), os.Getenv("REGISTRY_PASSWORD")
	ref, err := images.Push(ctx, o.target, image)
	if err != nil {
		return err
	}
	fmt.Println(ref)
	return nil
}

func (o *options) save(image v1.Image) error {
	if err := images.Save(o.output, o.target.Ref, image); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", o.output, digest)
	return nil
}
