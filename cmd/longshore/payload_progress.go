package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"longshore.dev/longshore/payload"
)

const (
	progressAfter  = time.Second            // what takes less needs no word
	progressDraws  = 100 * time.Millisecond // between two pictures of a bar
	progressLines  = 15 * time.Second       // between two lines where there is no terminal
	progressFilled = 30
)

// progress shows how far transfers have come: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	out io.Writer
	now func() time.Time
	// width is that of the terminal, 0 for none.
	width int

	what         string
	began, shown time.Time
	drawn        bool
}

func newProgress(env *environment) *progress {
	p := &progress{out: env.stderr, now: time.Now}
	if file, ok := env.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) && env.lookup("TERM") != "dumb" {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

func (p *progress) tell(t payload.Transfer) {
	now := p.now()
	if t.What != p.what {
		p.end()
		p.what, p.began, p.shown = t.What, now, now
	}
	every := progressLines
	if p.width > 0 {
		every = progressDraws
	}
	if now.Sub(p.began) < progressAfter || now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	if p.width == 0 {
		fmt.Fprintln(p.out, transferred(t))
		return
	}
	p.drawn = true
	fmt.Fprint(p.out, "\r"+cut(progressBar(t)+" "+transferred(t), p.width-1)+"\x1b[K")
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.drawn = false
}

func transferred(t payload.Transfer) string {
	return fmt.Sprintf("%s of %s  %s", size(t.Done), size(t.Total), plain(t.What))
}

func progressBar(t payload.Transfer) string {
	filled := 0
	if t.Total > 0 {
		filled = int(min(max(t.Done, 0), t.Total) * progressFilled / t.Total)
	}
	return "[" + strings.Repeat("=", filled) + strings.Repeat(" ", progressFilled-filled) + "]"
}

// size is a number of bytes for people.
func size(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
