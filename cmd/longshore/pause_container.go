package main

import "github.com/spf13/cobra"

// pauseContainerCommand is the main container of installer pods: that it was started shows that the container runtime works after the
// installer's commands, and then it waits to be taken away.
func pauseContainerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pause-container",
		Short: "Wait for the end: the main container of installer pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			<-cmd.Context().Done()
			return nil
		},
	}
}
