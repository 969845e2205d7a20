package observed

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sameProgress compares all there is, unknown fields included.
func sameProgress(want, got *Progress) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(Progress{}))
}

func drawProgress(t *rapid.T) *Progress {
	revision := func(name string) string { return rapid.StringMatching(`[a-z0-9]{1,10}`).Draw(t, name) }
	word := rapid.StringMatching(`[a-zA-Z0-9 .:"\\/<>&é☃-]{0,12}`)
	text := func(name string) string { return word.Draw(t, name) }
	p := &Progress{
		Phase: rapid.SampledFrom([]Phase{PhasePending, PhaseDraining, PhaseBlocked, PhaseInstalling, PhaseReady, PhaseFailed, PhaseUninstalling}).Draw(t, "phase"),
		Step:  text("step"), Revision: revision("revision"), Previous: revision("previous"),
		Attempt: rapid.IntRange(0, 1000).Draw(t, "attempt"),
		Since:   time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "since")).UTC(),
		Reason:  text("reason"), Message: text("message"), PodUID: text("podUID"), MachineID: text("machineID"), BootID: text("bootID"),
		Cordoned: rapid.Bool().Draw(t, "cordoned"), Tainted: rapid.Bool().Draw(t, "tainted"), Retry: text("retry"),
		Exits: rapid.IntRange(0, 1000).Draw(t, "exits"), Excused: rapid.Bool().Draw(t, "excused"), Unwatched: rapid.Bool().Draw(t, "unwatched"),
	}
	operations := slices.DeleteFunc([]Operation{"", Install, Uninstall}, func(o Operation) bool { return !p.Phase.allows(o) })
	p.Operation = rapid.SampledFrom(operations).Draw(t, "operation")
	later := rapid.MapOfN(rapid.StringMatching(`later[A-Z][a-z]{0,5}`), rapid.SampledFrom([]string{`1`, `"x"`, `null`, `[1,"a"]`, `{"a":{"b":true}}`}), 0, 3)
	for name, value := range later.Draw(t, "unknown") {
		if p.unknown == nil {
			p.unknown = map[string]json.RawMessage{}
		}
		p.unknown[name] = json.RawMessage(value)
	}
	return p
}

func TestProgressIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawProgress(t)
		text := want.String()
		got, err := ParseProgress(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := sameProgress(want, got); diff != "" {
			t.Fatalf("written (-) and read (+) of %s:\n%s", text, diff)
		}
		if again := got.String(); again != text {
			t.Fatalf("the second text differs:\n%s\n%s", text, again)
		}
	})
}

func TestProgressKeepsFieldsOfALaterVersion(t *testing.T) {
	const text = `{"phase":"Ready","operation":"install","revision":"a0","since":"2026-01-02T03:04:05Z","zone":{"a":[1, 2]},"drainedAt":"2026-01-02T03:04:05Z"}`
	p, err := ParseProgress(text)
	if err != nil {
		t.Fatal(err)
	}
	next := p.Next(Progress{Phase: PhaseInstalling, Operation: Install, Since: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), Revision: "a1"})
	const want = `{"phase":"Installing","operation":"install","revision":"a1","since":"2026-01-03T00:00:00Z","drainedAt":"2026-01-02T03:04:05Z","zone":{"a":[1,2]}}`
	if got := next.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none *Progress
	if got := none.Next(Progress{Phase: PhaseReady}); got.Phase != PhaseReady || got.unknown != nil {
		t.Errorf("the progress that follows none is %+v", got)
	}
}

func TestProgressFieldsThatDifferInCaseAreOthers(t *testing.T) {
	// A JSON decoder that folds cases would read the last of the two, and so something else than what was written.
	const text = `{"phase":"Failed","operation":"install","since":"2026-01-02T03:04:05Z","revision":"a1","Phase":"Ready","REVISION":"b2","podUid":"x"}`
	p, err := ParseProgress(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.Phase != PhaseFailed || p.Revision != "a1" || p.PodUID != "" {
		t.Errorf("read phase %q, revision %q, podUID %q", p.Phase, p.Revision, p.PodUID)
	}
	p.Phase = PhaseInstalling
	again, err := ParseProgress(p.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameProgress(p, again); diff != "" {
		t.Errorf("written (-) and read (+):\n%s", diff)
	}
}

func TestProgressThatCannotBeReadIsAnError(t *testing.T) {
	cases := map[string]struct{ text, says string }{
		"nothing":            {``, "unexpected end of JSON input"},
		"no JSON":            {`installing`, "invalid character"},
		"cut off":            {`{"phase":"Ready"`, "unexpected end of JSON input"},
		"no object":          {`["Ready"]`, "cannot unmarshal array"},
		"null":               {`null`, `phase "", expected one of Pending, Draining, Blocked, Installing, Ready, Failed, Uninstalling`},
		"no phase":           {`{"since":"2026-01-02T03:04:05Z"}`, `phase "", expected one of`},
		"unknown phase":      {`{"phase":"Sleeping"}`, `phase "Sleeping", expected one of`},
		"unknown operation":  {`{"phase":"Failed","operation":"repair","revision":"a1"}`, `operation "repair" with phase Failed, expected install or uninstall`},
		"no operation":       {`{"phase":"Ready","revision":"a1"}`, `operation "" with phase Ready, expected install`},
		"another operation":  {`{"phase":"Uninstalling","operation":"install","revision":"a1"}`, `operation "install" with phase Uninstalling, expected uninstall`},
		"pending nonsense":   {`{"phase":"Pending","operation":"wait"}`, "expected install, uninstall or none"},
		"no revision":        {`{"phase":"Failed","operation":"install"}`, "no revision with phase Failed"},
		"two words":          {`{"phase":"Failed","operation":"install","revision":"a 1"}`, `revision "a 1", expected lowercase`},
		"a previous one":     {`{"phase":"Pending","previous":"A/1"}`, `previous "A/1", expected lowercase`},
		"a turn of two":      {`{"phase":"Ready","operation":"install","revision":"a1","turn":"1 2"}`, `turn "1 2", expected no space`},
		"a number for text":  {`{"phase":"Ready","revision":7}`, "revision"},
		"a time of no kind":  {`{"phase":"Ready","since":"yesterday"}`, "yesterday"},
		"a text for number":  {`{"phase":"Ready","attempt":"2"}`, "attempt"},
		"two values":         {`{"phase":"Ready"}{"phase":"Failed"}`, "after top-level value"},
		"a year with 5 dig.": {`{"phase":"Ready","since":"9999-12-31T23:59:59-01:00"}`, "9999"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := ParseProgress(c.text)
			if err == nil || p != nil {
				t.Fatalf("read %q as %+v", c.text, p)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "progress ") {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

func TestProgressSaysTimesInUTC(t *testing.T) {
	p := Progress{Phase: PhaseReady, Since: time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.FixedZone("", 7200))}
	const want = `{"phase":"Ready","since":"2026-07-01T10:00:00.123Z"}`
	if got := p.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestProgressCutsLongMessages(t *testing.T) {
	p := Progress{Phase: PhaseFailed, Operation: Install, Revision: "a1", Message: strings.Repeat("€", 2000) + "the end"}
	read, err := ParseProgress(p.String())
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Message) > MaxMessage || len(read.Message) < MaxMessage-len("€") {
		t.Errorf("the message has %d bytes, expected nearly %d", len(read.Message), MaxMessage)
	}
	if !utf8.ValidString(read.Message) || !strings.HasPrefix(read.Message, "…€") || !strings.HasSuffix(read.Message, "€the end") {
		t.Errorf("the message is cut to %q", read.Message)
	}
	if len(p.Message) != 6007 {
		t.Error("writing changed the progress itself")
	}
}

func TestShortenCleansWhatATerminalWouldObey(t *testing.T) {
	cases := map[string]struct {
		text  string
		limit int
		want  string
	}{
		"short text stays":                {"all is well", 20, "all is well"},
		"newlines stay":                   {"a\nb", 20, "a\nb"},
		"tabs and returns become spaces":  {"a\tb\r\nc", 20, "a b \nc"},
		"colours lose their escape":       {"\x1b[31mred\x1b[0m", 20, " [31mred [0m"},
		"so does the 8-bit escape":        {"\u009b31mred", 20, " 31mred"},
		"a title loses escape and bell":   {"\x1b]0;title\a", 20, " ]0;title "},
		"delete and null become spaces":   {"a\x7fb\x00c", 20, "a b c"},
		"bytes that are no text":          {"a\xffb\xc3", 20, "a b "},
		"the limit itself fits":           {"0123456789", 10, "0123456789"},
		"the end is kept":                 {"0123456789x", 10, "…456789x"},
		"a rune is not cut in two":        {"ééééé", 8, "…éé"},
		"a wide rune is not cut in two":   {"☃☃☃☃", 9, "…☃☃"},
		"an emoji at the border goes":     {"😀😀😀", 8, "…😀"},
		"escapes are gone before the cut": {"\x1b\x1b\x1b\x1b", 4, "    "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Shorten(c.text, c.limit); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestShortenKeepsItsPromisesForAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		limit := rapid.IntRange(len("…"), 64).Draw(t, "limit")
		checkShort(t, text, limit)
	})
}

type failer interface {
	Errorf(format string, args ...any)
}

func checkShort(t failer, text string, limit int) {
	got := Shorten(text, limit)
	if len(got) > limit {
		t.Errorf("%q has %d bytes, the limit is %d", got, len(got), limit)
	}
	if !utf8.ValidString(got) {
		t.Errorf("%q is no valid text", got)
	}
	for _, r := range got {
		if r != '\n' && (r < ' ' || (r >= 0x7f && r < 0xa0)) {
			t.Errorf("%q has the control character %U", got, r)
		}
	}
	if again := Shorten(got, limit); again != got {
		t.Errorf("shortening twice gives %q and then %q", got, again)
	}
}

// FuzzProgress holds that whatever stands on a node either is an error or can be written and read again without loss.
func FuzzProgress(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"phase":"Ready","operation":"install","revision":"a1"}`,
		`{"phase":"Installing","operation":"install","step":"install","revision":"a1","previous":"a0","attempt":2,"since":"2026-01-02T03:04:05.678Z"}`,
		`{"phase":"Failed","operation":"install","revision":"a1","message":"\u001b[31m","since":"2026-01-02T03:04:05+02:00","later":{"b":1,"a":[1.50,null]}}`,
		`{"phase":"Failed","Phase":"Ready","PHASE":1}`, `{"phase":"Ready","phase":"Failed"}`, `{"phase":"Ready","\u0070hase":"Failed","":0}`,
		`{"phase":"Ready","since":"9999-12-31T23:59:59-01:00"}`, `{"phase":"Pending","later":"\ud800"}`, `{"phase":"Pending","a":"<&>"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := ParseProgress(text)
		if err != nil {
			if first != nil {
				t.Error("an error and a progress")
			}
			return
		}
		written := first.String()
		second, err := ParseProgress(written)
		if err != nil {
			t.Fatalf("%q was read, and what was written of it was not: %q: %v", text, written, err)
		}
		first.Since = first.Since.UTC().Truncate(time.Millisecond)
		first.Message = Shorten(first.Message, MaxMessage)
		if len(first.unknown) != len(second.unknown) {
			t.Errorf("unknown fields before: %q, after: %q", first.unknown, second.unknown)
		}
		first.unknown, second.unknown = nil, nil
		if diff := sameProgress(first, second); diff != "" {
			t.Errorf("before (-) and after (+) of %q:\n%s", text, diff)
		}
		checkShort(t, second.Message, MaxMessage)
		third, err := ParseProgress(written)
		if err != nil || third.String() != written {
			t.Errorf("the text does not stay what it is: %q, %v", written, err)
		}
	})
}
