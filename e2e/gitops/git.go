package gitops

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// branch is the branch that the tools follow.
const branch = "main"

// gitServer serves repositories to the tools as a forge does, by git's own program.
type gitServer struct {
	program, dir, home string
	url                string
	server             *http.Server
}

// startGit serves the bare repositories below the directory on loopback.
func startGit(dir string) (*gitServer, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("the tests commit with the machine's own git: %w", err)
	}
	g := &gitServer{program: program, dir: filepath.Join(dir, "served"), home: filepath.Join(dir, "home")}
	for _, folder := range []string{g.dir, g.home} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g.url = "http://" + listener.Addr().String()
	handler := &cgi.Handler{
		Path: program, Args: []string{"http-backend"}, Dir: g.dir,
		Env: append(g.env(), "GIT_PROJECT_ROOT="+g.dir, "GIT_HTTP_EXPORT_ALL=1"),
	}
	g.server = &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = g.server.Serve(listener) }()
	return g, nil
}

func (g *gitServer) stop() error { return g.server.Close() }

// env keeps git away from the configuration of the user who runs the tests.
func (g *gitServer) env() []string {
	return []string{
		"HOME=" + g.home, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=tests", "GIT_AUTHOR_EMAIL=tests@gitops.test",
		"GIT_COMMITTER_NAME=tests", "GIT_COMMITTER_EMAIL=tests@gitops.test",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}
}

// repo is a repository with a working tree of its own.
type repo struct {
	git  *gitServer
	name string
	// head is the last commit that was pushed.
	head string
	// url is where the tools find it, tree is the working tree.
	url, tree string
}

// newRepo makes an empty repository.
func (g *gitServer) newRepo(ctx context.Context, name, tree string) (*repo, error) {
	r := &repo{git: g, name: name, url: g.url + "/" + name + ".git", tree: tree}
	bare := filepath.Join(g.dir, name+".git")
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=" + branch, bare},
		{"init", "--quiet", "--initial-branch=" + branch, tree},
		{"-C", tree, "remote", "add", "origin", bare},
	} {
		if _, err := r.run(ctx, args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *repo) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, r.git.program, args...)
	cmd.Env = r.git.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// commit makes the folder consist of these files, pushes, and returns the commit. No files at all remove the
// folder.
func (r *repo) commit(ctx context.Context, folder string, files map[string]string) (string, error) {
	dir := filepath.Join(r.tree, folder)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	if _, err := r.run(ctx, "-C", r.tree, "add", "--all"); err != nil {
		return "", err
	}
	if _, err := r.run(ctx, "-C", r.tree, "commit", "--quiet", "--allow-empty", "--message=edit"); err != nil {
		return "", err
	}
	return r.push(ctx)
}

// revert takes the last commit back with `git revert`, and returns the commit that does so.
func (r *repo) revert(ctx context.Context) (string, error) {
	if _, err := r.run(ctx, "-C", r.tree, "revert", "--no-edit", "HEAD"); err != nil {
		return "", err
	}
	return r.push(ctx)
}

func (r *repo) push(ctx context.Context) (string, error) {
	if _, err := r.run(ctx, "-C", r.tree, "push", "--quiet", "origin", branch); err != nil {
		return "", err
	}
	var err error
	r.head, err = r.run(ctx, "-C", r.tree, "rev-parse", "HEAD")
	return r.head, err
}
