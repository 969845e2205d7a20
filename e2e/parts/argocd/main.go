// Command argocd is the application controller and the repo server of Argo CD, with what they call: the answer to git's question for a
// password, and kustomize. It looks at the name it is called by. Argo CD's own command has the same shape, with its API server, its user
// interface and its CLI in it, which the tests have no use for.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	appcontroller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	gitaskpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/log"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	kustomize "sigs.k8s.io/kustomize/kustomize/v5/commands"
)

func main() {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller": appcontroller.NewCommand,
		"argocd-repo-server":            reposerver.NewCommand,
		"argocd-git-ask-pass":           gitaskpass.NewCommand,
		"kustomize":                     kustomize.NewDefaultCommand,
	}
	name := filepath.Base(os.Args[0])
	// The repo server runs this by its name to check signatures, and does so with signatures turned off as well; no output means none.
	if name == "git-verify-wrapper.sh" {
		return
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "argocd: called as %q, expected the name of a part of Argo CD\n", name)
		os.Exit(2)
	}
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}
