// Package gitops answers: is Longshore at home in GitOps?
//
// The real Argo CD, the real Flux and kubectl carry specs from a git server of the test's own to a cluster with
// simulated nodes. Each scenario asserts what the tool says, which nodes were touched, and that nothing hangs.
package gitops

import "context"

// app is one application of a tool: a folder of a repository that the cluster has to look like.
type app struct {
	name string
	// like is a word in the name of the shipped object that the application is made from.
	like string
	repo *repo
	// path is the folder.
	path string
	// keep turns pruning off: what leaves the folder stays in the cluster.
	keep bool
	// after names an application that has to be healthy first, where the tool knows such an order between
	// applications.
	after string
}

// kind is what a verdict comes to.
type kind string

const (
	good kind = "good"
	bad  kind = "bad"
	busy kind = "busy"
)

// verdict is what a tool says about an application at a commit.
type verdict struct {
	kind kind
	// words are the tool's own.
	words string
}

// tool is one way from a repository to the cluster.
type tool interface {
	name() string
	// waves reports whether the tool keeps an order within an application.
	waves() bool
	// repeats reports whether the tool repeats what a health check says about an object. Flux only names the
	// object.
	repeats() bool
	// follow makes the application, or changes it.
	follow(ctx context.Context, a *app) error
	// look makes the tool look at the repository now instead of at the end of its interval.
	look(ctx context.Context, a *app) error
	// says returns what the tool says about the application. As long as the tool has not come to the commit, that
	// is busy.
	says(ctx context.Context, a *app, commit string) (verdict, error)
	// forget deletes the application with everything it brought, and returns when the tool is done with that.
	forget(ctx context.Context, a *app) error
	// leave deletes the application and nothing that it brought.
	leave(ctx context.Context, a *app) error
}
