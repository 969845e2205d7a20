// Command mutants answers: would the tests of histories have found it?
//
// It puts bugs into the product, one after the other, as a list of them says, and plays histories until the invariant is found broken that the list
// names. The working tree stays as it is: Go is told to read other files in place of some.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

// run is main with its exit code: 0 all were found, 1 some were not, 2 the command line or the list is wrong.
func run(ctx context.Context, args []string, out io.Writer) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", ".", "root of the repository")
	list := flags.String("list", "controller/simulation/history/mutants.txt", "list of mutants, in the repository")
	only := flags.String("only", "", "play only those whose name contains this")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	text, err := os.ReadFile(filepath.Join(*dir, *list))
	if err != nil {
		fmt.Fprintln(out, "mutants:", err)
		return 2
	}
	mutants, err := parse(string(text))
	if err != nil {
		fmt.Fprintf(out, "mutants: %s: %v\n", *list, err)
		return 2
	}
	code := 0
	for _, m := range mutants {
		if !strings.Contains(m.name, *only) {
			continue
		}
		seed, err := m.play(ctx, *dir)
		if err != nil {
			code = 1
			fmt.Fprintf(out, "NOT FOUND  %s: %v\n", m.name, err)
			continue
		}
		fmt.Fprintf(out, "found      %s: %s, by seed %s\n", m.name, m.finds, seed)
	}
	return code
}

// mutant is a bug: texts of one file that are replaced.
type mutant struct {
	name, finds, file string
	replace           [][2]string
}

// parse reads the list:
//
//	mutant: <name>
//	finds: <invariant>
//	file: <path in the repository>
//	- <a line that is replaced>
//	+ <a line that takes its place>
//
// Lines with - that follow each other are one text, and so are those with +.
func parse(text string) ([]*mutant, error) {
	var all []*mutant
	before := ""
	for n, line := range strings.Split(text, "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		last := &mutant{}
		if len(all) > 0 {
			last = all[len(all)-1]
		}
		switch {
		case line == "" || kind == "#":
		case kind == "mutant:":
			all = append(all, &mutant{name: rest})
		case kind == "finds:":
			last.finds = rest
		case kind == "file:":
			last.file = rest
		case kind == "-" && before == "-":
			last.replace[len(last.replace)-1][0] += "\n" + rest
		case kind == "-":
			last.replace = append(last.replace, [2]string{rest})
		case kind == "+" && before == "+":
			last.replace[len(last.replace)-1][1] += "\n" + rest
		case kind == "+" && before == "-":
			last.replace[len(last.replace)-1][1] = rest
		default:
			return nil, fmt.Errorf("line %d: %q is none of mutant:, finds:, file:, -, +", n+1, line)
		}
		before = kind
	}
	return all, nil
}

// mutate is the file with the bug in it.
func (m *mutant) mutate(text string) (string, error) {
	for _, r := range m.replace {
		if n := strings.Count(text, r[0]); n != 1 {
			return "", fmt.Errorf("%s has %d times, not once: %q", m.file, n, r[0])
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	return text, nil
}

// play plays histories with the bug in the product, and returns the first seed that finds it.
func (m *mutant) play(ctx context.Context, dir string) (string, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	mutated, err := m.mutate(string(text))
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	file, overlay := filepath.Join(work, "mutated.go"), filepath.Join(work, "overlay.json")
	places, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): file}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, []byte(mutated), 0o600), os.WriteFile(overlay, places, 0o600)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout", "15m", "-overlay", overlay, "-run", "TestWhateverHappensTheInvariantsHold", "./controller/simulation/history")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "FINDS="+m.finds)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", errors.New("every invariant held")
	}
	found := regexp.MustCompile(regexp.QuoteMeta(m.finds) + `: .*SEED=(\d+) `).FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("something else was found: %s", first(string(out)))
	}
	return string(found[1]), nil
}

// first are the first lines of what a test says.
func first(text string) string { return text[:min(len(text), 1500)] }
