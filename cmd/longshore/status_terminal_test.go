package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// terminal is a terminal that knows just what the screen may use, and takes everything else down as a complaint.
type terminal struct {
	mu            sync.Mutex
	width, height int
	rows          [][]rune
	row, column   int
	hidden        bool
	// history are the lines that scrolled away.
	history    []string
	complaints []string
	writes     int
}

func newTerminal(width, height int) *terminal {
	t := &terminal{width: width, height: height}
	t.clear(0)
	return t
}

func (t *terminal) size() (width, height int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.width, t.height
}

// resize makes the terminal another size; it keeps what is there, which is more than a real one does.
func (t *terminal) resize(width, height int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width, t.height = width, height
	for len(t.rows) < height {
		t.rows = append(t.rows, nil)
	}
	for len(t.rows) > height {
		t.history = append(t.history, readable(t.rows[0]))
		t.rows, t.row = t.rows[1:], max(t.row-1, 0)
	}
	t.row = min(t.row, height-1)
}

// clear empties the rows from one on.
func (t *terminal) clear(from int) {
	t.rows = t.rows[:min(from, len(t.rows))]
	for len(t.rows) < t.height {
		t.rows = append(t.rows, nil)
	}
}

// readable is a row as one reads it; behind a wide rune is a place that holds none.
func readable(row []rune) string {
	return strings.TrimRight(strings.ReplaceAll(string(row), "\x00", ""), " ")
}

// Write shows text.
func (t *terminal) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes++
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '\x1b':
			size = t.escape(rest)
		case r == '\r':
			t.column = 0
		case r == '\n':
			t.row++
			if t.row == t.height {
				t.history = append(t.history, readable(t.rows[0]))
				t.rows, t.row = append(t.rows[1:], nil), t.height-1
			}
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError && size == 1:
			t.complaints = append(t.complaints, fmt.Sprintf("a control character %q", r))
		default:
			t.put(r)
		}
		rest = rest[size:]
	}
	return len(text), nil
}

func (t *terminal) put(r rune) {
	if t.column+cells(r) > t.width {
		t.complaints = append(t.complaints, fmt.Sprintf("%q is beyond the right edge of %q", r, string(t.rows[t.row])))
		return
	}
	for len(t.rows[t.row]) <= t.column {
		t.rows[t.row] = append(t.rows[t.row], ' ')
	}
	t.rows[t.row][t.column] = r
	if cells(r) == 2 {
		t.rows[t.row] = append(t.rows[t.row][:t.column+1], 0)
	}
	t.column += cells(r)
}

// escape obeys the sequence that a text begins with, and returns its length.
func (t *terminal) escape(text []byte) int {
	end := 2 + strings.IndexFunc(string(text[min(2, len(text)):]), unicode.IsLetter)
	if len(text) < 3 || text[1] != '[' || end < 2 {
		t.complaints = append(t.complaints, fmt.Sprintf("an escape %q", text[:min(len(text), 8)]))
		return 1
	}
	number, letter := string(text[2:end]), text[end]
	switch {
	case letter == 'A':
		up, err := strconv.Atoi(number)
		if err != nil || up > t.row {
			t.complaints = append(t.complaints, fmt.Sprintf("up %s from row %d", number, t.row))
		}
		t.row = max(t.row-up, 0)
	case letter == 'K' && number == "2":
		t.rows[t.row] = nil
	case letter == 'J' && number == "":
		t.clear(t.row)
	case letter == 'J' && number == "2":
		t.clear(0)
	case letter == 'H' && number == "":
		t.row, t.column = 0, 0
	case letter == 'm':
	case number == "?25":
		t.hidden = letter == 'l'
	default:
		t.complaints = append(t.complaints, fmt.Sprintf("a sequence %q", text[:end+1]))
	}
	return end + 1
}

// seen is what one can read, without the empty lines at the end.
func (t *terminal) seen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, row := range t.rows {
		b.WriteString(readable(row) + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
