package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/payload"
)

func payloadCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "payload",
		Short: "Look into payload images, check them, and build them",
		Long: `Look into payload images, check them against a spec, and put files onto them; without root and without Docker.

An image is registry/repository:tag, oci:DIRECTORY[:TAG] for an OCI layout, or tar:FILE for an OCI or Docker archive. Credentials come from the
configuration of Docker or Podman, or from flags.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(payloadInspectCommand(env), payloadLintCommand(env), payloadBuildCommand(env))
	return cmd
}

// registryOptions are the flags of all commands that speak to registries.
type registryOptions struct {
	username     string
	password     string
	passwordFile string
	registry     string
	plainHTTP    bool
	timeout      time.Duration
	output       string
	platforms    []string
}

func (o *registryOptions) flags(set *pflag.FlagSet) {
	set.StringVar(&o.username, "username", "", "user of the registry; the configuration of Docker or Podman is asked by default")
	set.StringVar(&o.password, "password", "", "password of the user, seen by everybody on this machine: better is --password-file")
	set.StringVar(&o.passwordFile, "password-file", "", "file with the password of the user; - for standard input")
	set.StringVar(&o.registry, "registry", "", "the only registry that gets --username; needed where there are several")
	set.BoolVar(&o.plainHTTP, "plain-http", false, "speak to registries without TLS where they have none")
	set.DurationVar(&o.timeout, "timeout", time.Minute, "how long a registry may say nothing; 0 waits for ever")
	set.StringVarP(&o.output, "output", "o", "table", "table, json or yaml")
}

// check finds what is wrong with the command line.
func (o *registryOptions) check() error {
	switch {
	case !slices.Contains([]string{"table", "json", "yaml"}, o.output):
		return fmt.Errorf("--output: %q is not one of table, json, yaml", o.output)
	case o.password != "" && o.passwordFile != "":
		return errors.New("--password and --password-file exclude each other")
	case o.username == "" && (o.password != "" || o.passwordFile != "" || o.registry != ""):
		return errors.New("--password, --password-file and --registry need --username")
	case o.username != "" && o.password == "" && o.passwordFile == "":
		return errors.New("--username needs --password-file or --password")
	case o.timeout < 0:
		return fmt.Errorf("--timeout: %s is negative", o.timeout)
	}
	return nil
}

// wanted are the platforms of --platform, or what to take where none is given.
func (o *registryOptions) wanted(otherwise ...v1.Platform) ([]v1.Platform, error) {
	if len(o.platforms) == 0 {
		return otherwise, nil
	}
	var found []v1.Platform
	for _, text := range o.platforms {
		p, err := payload.ParsePlatform(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--platform: %w", err)}
		}
		found = append(found, p)
	}
	return found, nil
}

// here is the platform of this machine, with the system that installers run on.
func here() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// client makes a client for images in these registries. The login goes to one of them only.
func (o *registryOptions) client(env *environment, told *progress, refs ...payload.Ref) (*payload.Client, error) {
	c := &payload.Client{PlainHTTP: o.plainHTTP, Timeout: o.timeout, UserAgent: observed.Manager + "/" + version, Progress: told.tell}
	if o.username == "" {
		return c, nil
	}
	registry, err := o.loginRegistry(refs)
	if err != nil {
		return nil, usageError{err}
	}
	login := payload.Login{Registry: registry, Username: o.username, Password: o.password}
	if o.passwordFile != "" {
		if login.Password, err = readPassword(o.passwordFile, env.stdin); err != nil {
			return nil, err
		}
	}
	if err := login.Check(); err != nil {
		return nil, err
	}
	c.Logins = []payload.Login{login}
	return c, nil
}

func (o *registryOptions) loginRegistry(refs []payload.Ref) (string, error) {
	if o.registry != "" {
		r, err := name.NewRegistry(o.registry)
		if err != nil {
			return "", fmt.Errorf("--registry: expected a host such as registry.example.com, found %q", o.registry)
		}
		return r.RegistryStr(), nil
	}
	var found []string
	for _, ref := range refs {
		if r := ref.Registry(); r != "" && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return "", errors.New("--username: no image is in a registry")
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("--username: name the registry that gets it with --registry, one of %s", strings.Join(found, ", "))
	}
}

// readPassword reads a password; one newline at the end belongs to the file.
func readPassword(file string, stdin io.Reader) (string, error) {
	var raw []byte
	var err error
	if file == "-" {
		raw, err = io.ReadAll(stdin)
	} else {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r"), nil
}

// image reads a reference of the command line.
func image(text string) (payload.Ref, error) {
	ref, err := payload.ParseRef(text)
	if err != nil {
		return ref, usageError{err}
	}
	return ref, nil
}
