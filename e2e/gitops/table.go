package gitops

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// row is what one scenario showed.
type row struct {
	scenario, tool, said, touched string
	took                          time.Duration
	failed                        bool
}

// table has the rows of a run, in the order in which the scenarios ended.
type table struct {
	mu   sync.Mutex
	rows []row
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// markdown is the table as it is pasted into the docs.
func (t *table) markdown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	text.WriteString("| scenario | tool | what the tool said | nodes touched | seconds | as promised |\n")
	text.WriteString("|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		verdict := "yes"
		if r.failed {
			verdict = "**no**"
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %.0f | %s |\n",
			r.scenario, r.tool, cell(r.said), r.touched, r.took.Seconds(), verdict)
	}
	return text.String()
}

// cell keeps a text within its cell.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
