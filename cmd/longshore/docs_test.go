package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	flagsBegin = "<!-- flags: made by UPDATE=1 go test ./cmd/longshore -->\n"
	flagsEnd   = "<!-- flags end -->\n"
)

func TestTheReferenceHasEveryCommandAndFlag(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "reference.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), flagsBegin)
	documented, after, ok2 := strings.Cut(rest, flagsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks around the flags are gone", file)
	}
	env := environment{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, lookup: func(string) string { return "" }}
	want := commands(rootCommand(&env))
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(before+flagsBegin+want+flagsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("commands and flags of the code (-) and of docs/reference.md (+), run with UPDATE=1 to bring them together:\n%s", diff)
	}
}

// commands is the documentation of every command.
func commands(root *cobra.Command) string {
	var b strings.Builder
	for _, cmd := range root.Commands() {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s.\n", cmd.UseLine(), cmd.Short)
		if cmd.HasSubCommands() {
			b.WriteString(strings.TrimSuffix(commands(cmd), "\n"))
			continue
		}
		if !cmd.HasAvailableLocalFlags() {
			continue
		}
		b.WriteString("\n| flag | default | meaning |\n|---|---|---|\n")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name, value := "`--"+f.Name+"`", ""
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "` " + name
			}
			if f.DefValue != "" && f.DefValue != "[]" {
				value = "`" + f.DefValue + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", "\\|"))
		})
	}
	b.WriteString("\n")
	return b.String()
}
