package gitops

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// patience is how long a tool may take to say that all is well.
	patience = 2 * time.Minute
	// soon is how long it may take until something that is wrong is visible.
	soon = time.Minute
)

// commitHash is what nobody wants to read in a table.
var commitHash = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

// scenario is one row of the table: a runtime, a repository and an application of its own.
type scenario struct {
	*testing.T
	w       *world
	tool    tool
	runtime string
	app     *app
	// followed has the applications that the tool knows.
	followed map[string]bool
	// commit is the newest one.
	commit  string
	mark    time.Time
	started time.Time
	said    []string
	runs    []string
}

// play runs a scenario and adds its row to the table.
func (w *world) play(t *testing.T, with tool, title string, script func(*scenario)) {
	t.Run(title, func(t *testing.T) {
		name := strings.NewReplacer(" ", "-", ",", "", ":", "", "'", "").Replace(strings.ToLower(title))
		name = strings.Trim(shorten(name, 30), "-") + "-" + strings.ToLower(with.name()[:1])
		now := time.Now()
		s := &scenario{T: t, w: w, tool: with, runtime: name, started: now, mark: now, followed: map[string]bool{}}
		s.app = s.application(name)
		t.Cleanup(func() {
			s.cleanUp()
			results.add(row{
				scenario: title, tool: with.name(), said: strings.Join(s.said, " → "), touched: strings.Join(s.runs, " → "),
				took: time.Since(s.started), failed: t.Failed(),
			})
		})
		w.offer(t, name)
		script(s)
	})
}

// application makes an application with a repository of its own.
func (s *scenario) application(name string) *app {
	s.Helper()
	repo, err := s.w.git.newRepo(s.Context(), name, filepath.Join(s.TempDir(), name))
	if err != nil {
		s.Fatal(err)
	}
	return &app{name: name, like: "specs", repo: repo, path: name}
}

// cleanUp deletes the application and the specs, and says how things stood if the scenario failed.
func (s *scenario) cleanUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.Failed() {
		s.Log(s.stand(ctx))
	}
	if err := s.tool.forget(ctx, s.app); err != nil {
		s.Errorf("deleting the application: %v", err)
	}
	selector := metav1.ListOptions{LabelSelector: domain + "runtime=" + s.runtime}
	if err := s.w.configMaps().DeleteCollection(ctx, metav1.DeleteOptions{}, selector); err != nil {
		s.Error(err)
	}
}

// stand is everything that explains a failure.
func (s *scenario) stand(ctx context.Context) string {
	var text strings.Builder
	if v, err := s.tool.says(ctx, s.app, s.commit); err == nil {
		fmt.Fprintf(&text, "%s says (%s): %s\n", s.tool.name(), v.kind, v.words)
	}
	list, err := s.w.kube.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{LabelSelector: domain + "runtime"})
	if err == nil {
		for i := range list.Items {
			text.WriteString(describe(&list.Items[i]) + "\n")
		}
	}
	counts, _ := s.w.touches.since(s.runtime, s.started)
	fmt.Fprintf(&text, "touched since the scenario began: %s\n", runs(counts, s.runtime))
	text.WriteString(s.w.longshore.process.words(15))
	return text.String()
}

func describe(cm *corev1.ConfigMap) string {
	a := cm.Annotations
	return fmt.Sprintf("spec %s/%s of %s, made %s: %s, %s, warnings %q",
		cm.Namespace, cm.Name, cm.Labels[domain+"runtime"], cm.CreationTimestamp.Format(time.TimeOnly),
		a[domain+"phase"], a[domain+"message"], a[domain+"warnings"])
}

// begin commits the first files, makes the application, waits until all is well, and expects one install on every
// node. What follows goes into the row.
func (s *scenario) begin(files map[string]string) {
	s.Helper()
	s.sync(files)
	s.said, s.runs = nil, nil
}

// sync commits the files, waits until all is well, and expects one install on every node.
func (s *scenario) sync(files map[string]string) {
	s.Helper()
	s.push(files)
	s.until(good, patience)
	s.installed()
}

// push commits the files of the application and makes the tool look. From now on runs are counted anew.
func (s *scenario) push(files map[string]string) {
	s.Helper()
	s.nextSecond()
	s.mark = time.Now()
	commit, err := s.app.repo.commit(s.Context(), s.app.path, files)
	if err != nil {
		s.Fatal(err)
	}
	s.carry(commit)
}

// revert takes the last commit back.
func (s *scenario) revert() {
	s.Helper()
	s.mark = time.Now()
	commit, err := s.app.repo.revert(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.carry(commit)
}

func (s *scenario) carry(commit string) {
	s.Helper()
	s.commit = commit
	if !s.followed[s.app.name] {
		s.followed[s.app.name] = true
		if err := s.tool.follow(s.Context(), s.app); err != nil {
			s.Fatal(err)
		}
	}
	s.look()
}

func (s *scenario) look() {
	s.Helper()
	if err := s.tool.look(s.Context(), s.app); err != nil {
		s.Fatal(err)
	}
}

// until waits until the tool says so about the newest commit, with all of these words.
func (s *scenario) until(want kind, within time.Duration, words ...string) {
	s.Helper()
	s.hears(within, words, want)
}

// sees waits until the tool says all of these words, whatever they come to.
func (s *scenario) sees(within time.Duration, words ...string) {
	s.Helper()
	s.hears(within, words, good, bad, busy)
}

// about is what the tool says of a ConfigMap that is wrong: these words of its status, or only which one it is.
func (s *scenario) about(namespace, name string, status ...string) []string {
	if s.tool.repeats() {
		return status
	}
	return []string{"ConfigMap/" + namespace + "/" + name}
}

func (s *scenario) hears(within time.Duration, words []string, kinds ...kind) {
	s.Helper()
	var last verdict
	what := fmt.Sprintf("%s says one of %v with %q", s.tool.name(), kinds, words)
	eventually(s.T, what, within, func(ctx context.Context) (bool, string) {
		v, err := s.tool.says(ctx, s.app, s.commit)
		if err != nil {
			return false, err.Error()
		}
		last = v
		missing := slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(v.words, word) })
		return slices.Contains(kinds, v.kind) && !missing, fmt.Sprintf("%s: %s", v.kind, v.words)
	})
	said := commitHash.ReplaceAllString(strings.ReplaceAll(last.words, s.runtime, "kata"), "…")
	s.said = append(s.said, shorten(said, 400))
}

// shorten cuts a text to so many bytes at most.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.TrimSpace(text[:most])
}

// installed expects that since the last commit every node ran the install command once, of one revision, and
// nothing else ran.
func (s *scenario) installed() { s.Helper(); s.ran(s.runtime, "install") }

// untouched expects that since the last commit no command ran on any node.
func (s *scenario) untouched() { s.Helper(); s.ran(s.runtime, "") }

// ran expects one run of the step on every node for a runtime, or no run at all if the step is empty.
func (s *scenario) ran(runtime, step string) {
	s.Helper()
	counts, err := s.w.touches.since(runtime, s.mark)
	if err != nil {
		s.Fatal(err)
	}
	words := runs(counts, runtime)
	s.runs = append(s.runs, words)
	right := len(counts) == 0 && step == ""
	for set, each := range counts {
		right = len(counts) == 1 && step != "" && strings.HasPrefix(set, runtime+"-"+step+"-") && len(each) == nodes
		for _, count := range each {
			right = right && count == 1
		}
	}
	if !right {
		s.Errorf("since the last commit ran for %s: %s; expected %q once on each of %d nodes, and nothing else",
			runtime, words, step, nodes)
	}
}
