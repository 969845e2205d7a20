package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"longshore.dev/longshore/observed"
	"longshore.dev/longshore/rollout"
	"longshore.dev/longshore/status"
)

// told is the JSON of the stories of nodes.
type told struct {
	Time  time.Time      `json:"time"`
	Nodes []status.Story `json:"nodes"`
}

func printReport(out io.Writer, format string, report *status.Report) error {
	if format == "table" {
		return printTables(out, report)
	}
	return printData(out, format, report)
}

// printStories prints what the stories were at the time.
func printStories(out io.Writer, format string, t told) error {
	if format != "table" {
		return printData(out, format, t)
	}
	for i := range t.Nodes {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := printStory(out, &t.Nodes[i], t.Time); err != nil {
			return err
		}
	}
	return nil
}

func printData(out io.Writer, format string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	text = append(harmless(text), '\n')
	if format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("encode the report: %w", err)
		}
	}
	_, err = out.Write(text)
	return err
}

// harmless writes the control characters that encoding/json leaves as they are in JSON's own way: some terminals obey them.
func harmless(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		if r == 0x7f || (r >= 0x80 && r < 0xa0) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.Bytes()
}

// plain is text of others (payloads, people, container runtimes) in a form that a terminal can only show, in one line: no control
// character, nothing that turns the direction of writing or hides what stands there.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r):
			return utf8.RuneError
		case unicode.IsControl(r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return ' '
		}
		return r
	}, text)
}

func printTables(out io.Writer, report *status.Report) error {
	if err := printPools(out, report.Pools); err != nil {
		return err
	}
	if len(report.Runtimes) == 0 {
		_, err := fmt.Fprintln(out, "No runtimes: no ConfigMap with the label "+observed.LabelRuntime+" is in the namespace.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tPHASE\tDONE\tREVISION\tBUDGET\tSPEC\tMESSAGE")
	for _, r := range report.Runtimes {
		fmt.Fprintf(w, "%s\t%s\t%d/%d\t%s\t%d/%d\t%s\t%s\n", plain(r.Name), r.Phase, r.Done, r.Total, dash(r.Revision), r.BudgetUsed, r.Budget, dash(r.Spec), plain(r.Message))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tRUNTIME\tPHASE\tREVISION\tTRY\tAGE\tREASON\tMESSAGE")
	for _, r := range report.Runtimes {
		for _, n := range r.Nodes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", n.Node, plain(r.Name), n.Phase, dash(n.Revision), n.Attempt, dash(age(n.Since, report.Time)), dash(n.Reason), plain(n.Message))
		}
	}
	return w.Flush()
}

// printStory prints what one node's story was at the time.
func printStory(out io.Writer, s *status.Story, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", plain(key), plain(value))
		}
	}
	fmt.Fprintf(w, "Node %s\n", plain(s.Node))
	line("at", moment(now))
	line("uid", s.UID)
	line("ready", words(s.Ready, "yes", "no")+since(s.ReadySince, now))
	line("unschedulable", words(s.Unschedulable, "yes", ""))
	line("deleting", words(s.Deleting, "yes", ""))
	line("handlers", cmp.Or(strings.Join(s.Handlers, ", "), words(s.HandlersReported, "only the default", "not reported by this kubelet")))
	line("boot", s.BootID)
	line("machine", s.MachineID)
	for i := range s.Runtimes {
		c := &s.Runtimes[i]
		fmt.Fprintf(w, "\nRuntime %s\t%s\n", plain(c.Runtime), plain(c.Phase)+words(c.Done, ", done", ""))
		line("should have", c.Want)
		chapterLines(line, c, now)
	}
	return w.Flush()
}

// chapterLines hands over, as pairs of a key and a value, what a node has to do with a runtime; "" is not told.
func chapterLines(line func(key, value string), c *status.Chapter, now time.Time) {
	if p := c.Progress; p != nil {
		line("operation", string(p.Operation))
		line("step", c.Step)
		line("revision", p.Revision)
		line("previous", p.Previous)
		line("attempt", positive(p.Attempt))
		line("phase since", moment(p.Since)+ago(p.Since, now))
		line("says", strings.TrimPrefix(p.Reason+": "+p.Message, ": "))
		line("cordoned by us", words(p.Cordoned, "yes", ""))
		line("tainted payload", words(p.Tainted, "yes, the image was overridden", ""))
	}
	line("unreadable", c.Problem)
	line("waits for", waitsFor(c))
	line("until", moment(c.Until)+ago(c.Until, now))
	if c.Held && c.Reason != string(rollout.Held) {
		line("held", cmp.Or(c.Hold, "yes, without a reason"))
	}
	line("retry", c.Retry)
	line("startup taint", c.Taint)
	if t := c.Turn; t != nil {
		line("turn", fmt.Sprintf("booked: %s of revision %s", t.Operation, t.Revision))
	}
	line("labels", labels(c))
	if c.Pod == nil {
		return
	}
	line("pod", c.Pod.Name+ago(c.Pod.Created, now)+strings.TrimSuffix(": "+c.Pod.Reason+" "+c.Pod.Message, ":  "))
	for i := range c.Pod.Steps {
		line("  "+c.Pod.Steps[i].Name, container(&c.Pod.Steps[i], now))
	}
	line("  "+cmp.Or(c.Pod.Main.Name, "main"), container(&c.Pod.Main, now))
}

// waitsFor is what has to happen before the node goes on, "" if nothing has to.
func waitsFor(c *status.Chapter) string {
	p := c.Progress
	switch {
	case c.Done || c.Reason == "":
		return ""
	case p != nil && p.Phase == observed.PhaseFailed && p.Reason == c.Reason:
		return "a spec that is mended, or a new value of the annotation " + observed.RetryKey(c.Runtime)
	}
	return c.Reason + ": " + c.Message
}

func labels(c *status.Chapter) string {
	var found []string
	for _, l := range [][2]string{{"gate", c.Gate}, {"phase", c.PhaseLabel}, {"ready", c.ReadyLabel}} {
		if l[1] != "" {
			found = append(found, l[0]+"="+l[1])
		}
	}
	return strings.Join(found, ", ")
}

// container says in words how a container of an installer pod stands.
func container(c *observed.Container, now time.Time) string {
	var text string
	switch {
	case c.Done:
		text = "exited 0"
	case c.Running:
		text = "running" + since(c.Started, now)
	case c.Waiting != "":
		text = strings.TrimSuffix("waiting: "+c.Waiting+": "+c.WaitingMessage, ": ")
	default:
		text = "not started"
	}
	if c.Restarts > 0 {
		text += fmt.Sprintf(", restarts: %d", c.Restarts)
	}
	if c.Exit != nil {
		text += fmt.Sprintf("; before that exited %d%s", c.Exit.Code, ago(c.Exit.At, now))
		if c.Exit.Message != "" {
			text += ": " + c.Exit.Message
		}
	}
	return text
}

// moment is a time for people and for logs alike, "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// age is how long ago something was, "" if it never was.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(now.Sub(t), 0))
}

// ago is how long ago or how far ahead a time is, in brackets.
func ago(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.After(now):
		return " (in " + duration.HumanDuration(t.Sub(now)) + ")"
	}
	return " (" + age(t, now) + " ago)"
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + moment(t) + ago(t, now)
}

// words puts a truth into words.
//
//nolint:revive // flag-parameter: the truth is the content here, not a switch
func words(truth bool, yes, no string) string {
	if truth {
		return yes
	}
	return no
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func dash(text string) string { return cmp.Or(plain(text), "-") }
