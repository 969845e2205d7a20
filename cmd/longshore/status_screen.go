package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// style is how a line of a frame looks.
type style uint8

// The styles.
const (
	normal style = iota
	strong
	bad
	faint
)

// codes are the terminal's words for the styles.
var codes = map[style]string{strong: "\x1b[1m", bad: "\x1b[31m", faint: "\x1b[2m"}

// line is one line of a frame: text that a terminal can only show.
type line struct {
	text  string
	style style
}

// screen draws frames over each other on a terminal. What was there before it stays in the terminal's history, and the last frame stays
// at the end.
type screen struct {
	out  io.Writer
	size func() (width, height int)
	// plain leaves colours out.
	plain    bool
	troubles *troubles

	// began is true when the terminal has something of ours; drawn lines of it are the frame before.
	began         bool
	drawn         int
	width, height int
}

func (s *screen) show(v *view, w wanted) error {
	width, height := s.size()
	f := frame{width: width, height: height - 1, now: v.snap.Time}
	if len(w.nodes) > 0 {
		if err := f.stories(v.stories(w)); err != nil {
			return err
		}
	} else {
		f.pools(v.report.Pools)
		f.runtimes(v.runtimes(w))
	}
	if text, at := s.troubles.last(v.snap.Time); text != "" {
		f.last(bad, "trouble since "+moment(at)+ago(at, v.snap.Time)+", so this may be old: "+text)
	}
	return s.draw(f.lines, width, height)
}

// draw puts lines over those of the frame before.
func (s *screen) draw(lines []line, width, height int) error {
	var b bytes.Buffer
	switch {
	case !s.began:
		// No cursor that jumps about.
		b.WriteString("\x1b[?25l")
	case width != s.width || height != s.height:
		// Terminals break lines anew when they change: nobody knows where the frame before is.
		b.WriteString("\x1b[H\x1b[2J")
	case s.drawn > 0:
		// No number is one.
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	s.began = true
	for _, l := range lines {
		b.WriteString("\r\x1b[2K")
		text := cut(l.text, width)
		if code := codes[l.style]; code != "" && !s.plain {
			text = code + text + "\x1b[0m"
		}
		b.WriteString(text + "\r\n")
	}
	b.WriteString("\r\x1b[J")
	s.drawn, s.width, s.height = len(lines), width, height
	_, err := s.out.Write(b.Bytes())
	return err
}

func (s *screen) end() {
	if s.began {
		fmt.Fprint(s.out, "\x1b[?25h")
	}
}

// cells is how many places a rune takes on a terminal.
func cells(r rune) int {
	if r < 0x300 {
		// Most of them; combining marks begin here.
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

func cellsOf(text string) int {
	sum := 0
	for _, r := range text {
		sum += cells(r)
	}
	return sum
}

// cut leaves of a text what fits into a number of cells, with a mark where something was cut off.
func cut(text string, limit int) string {
	if cellsOf(text) <= limit {
		return text
	}
	head, _ := split(text, limit-1)
	return head + "…"
}

// split divides a text into what fits into a number of cells and the rest.
func split(text string, limit int) (head, rest string) {
	sum := 0
	for i, r := range text {
		if sum += cells(r); sum > limit {
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// wrap breaks a text into at most so many lines of so many cells, at spaces where there are any; what is too much is cut off.
func wrap(text string, limit, most int) []string {
	var out []string
	for len(out) < most-1 && cellsOf(text) > limit {
		head, rest := split(text, limit)
		if i := strings.LastIndexByte(head, ' '); i > len(head)/2 && rest[0] != ' ' {
			head, rest = head[:i], head[i:]+rest
		}
		if head == "" {
			break
		}
		out = append(out, strings.TrimRight(head, " "))
		text = strings.TrimLeft(rest, " ")
	}
	return append(out, cut(text, limit))
}
