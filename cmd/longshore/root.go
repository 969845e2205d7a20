package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev"

// environment is what a command may touch besides the cluster.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	lookup func(string) string
}

func rootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "longshore",
		Short: "Puts container runtimes onto Kubernetes nodes, from plain ConfigMaps",
		Long: `Longshore puts container runtimes (Kata, gVisor, crun, …) onto Kubernetes nodes, from plain ConfigMaps.

Exit codes: 0 all is well, 1 the input or the cluster is not as it should be, 2 the command line is wrong.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(controllerCommand(env), pauseContainerCommand(), renderCommand(env), validateCommand(env), statusCommand(env), planCommand(env), waitCommand(env), payloadCommand(env),
		pauseCommand(env), resumeCommand(env), retryCommand(env), rollbackCommand(env), releaseCommand(env), historyCommand(env), doctorCommand(env))
	usages(root)
	return root
}

// usages makes usage errors of what is wrong with the arguments of a command and of those below it.
func usages(cmd *cobra.Command) {
	cmd.Args = usage(cmd.Args)
	for _, below := range cmd.Commands() {
		usages(below)
	}
}

// usage makes a usage error of what is wrong with a command's arguments.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		return nil
	}
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// usageError is a command line that is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}
