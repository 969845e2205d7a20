package spec

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MaintenanceWindow is when operations may begin on a node.
type MaintenanceWindow struct {
	// Schedule says when the window opens; it knows the window's time zone.
	Schedule cron.Schedule
	// ScheduleText is the schedule as the user wrote it, for messages.
	ScheduleText string
	// Duration is how long the window stays open.
	Duration time.Duration
	TimeZone *time.Location
}

// String is the window in words.
func (w *MaintenanceWindow) String() string {
	return fmt.Sprintf("%s %s for %s", w.ScheduleText, w.TimeZone, w.Duration)
}

// Until says when the window closes that is open at a time, the zero time if none is. Openings that overlap, or follow each other without a gap, are
// one. It looks no further than enough: what it returns may be earlier than the real end, but never earlier than enough for that reason.
func (w *MaintenanceWindow) Until(now, enough time.Time) time.Time {
	open := w.latest(now)
	if open.IsZero() {
		return time.Time{}
	}
	closes := open.Add(w.Duration)
	for closes.Before(enough) {
		next := w.latest(closes)
		if !next.After(open) {
			break
		}
		open, closes = next, next.Add(w.Duration)
	}
	return closes
}

// latest is the last opening that is not later than a time and has not ended by then, the zero time if there is none.
func (w *MaintenanceWindow) latest(t time.Time) time.Time {
	// A schedule only tells what comes next: look back ever further until something does, and go on from there.
	for back := time.Minute; ; back *= 2 {
		back = min(back, w.Duration)
		open := w.Opens(t.Add(-back))
		if !open.IsZero() && !open.After(t) {
			for next := w.Opens(open); !next.IsZero() && !next.After(t); next = w.Opens(open) {
				open = next
			}
			return open
		}
		if back == w.Duration {
			return time.Time{}
		}
	}
}

// Opens says when the window opens next after a time.
func (w *MaintenanceWindow) Opens(after time.Time) time.Time {
	return w.Schedule.Next(after.In(w.TimeZone))
}

// windowText is a maintenance window as it is written.
type windowText struct {
	Schedule *string `json:"schedule"`
	Duration *string `json:"duration"`
	TimeZone *string `json:"timeZone"`
}

func readWindow(p *Pool, path *field.Path, text string) field.ErrorList {
	var written windowText
	errs := decode(path, text, &written)
	window, complaints := checkWindow(path, written)
	p.MaintenanceWindow = window
	return append(errs, unrelated(errs, complaints)...)
}

func checkWindow(path *field.Path, w windowText) (*MaintenanceWindow, field.ErrorList) {
	window := &MaintenanceWindow{TimeZone: time.UTC}
	var errs field.ErrorList
	if w.TimeZone != nil {
		zone, err := timeZone(path.Child("timeZone"), *w.TimeZone)
		errs = appendError(errs, err)
		window.TimeZone = zone
	}
	if w.Schedule == nil {
		errs = append(errs, field.Required(path.Child("schedule"), "when the window opens: "+scheduleForm))
	} else {
		schedule, err := schedule(path.Child("schedule"), *w.Schedule, window.TimeZone)
		errs = appendError(errs, err)
		window.Schedule, window.ScheduleText = schedule, strings.TrimSpace(*w.Schedule)
	}
	if w.Duration == nil {
		errs = append(errs, field.Required(path.Child("duration"), "how long the window stays open, such as 4h"))
	} else {
		duration, err := opening(path.Child("duration"), *w.Duration)
		errs = appendError(errs, err)
		window.Duration = duration
	}
	return window, errs
}

const scheduleForm = `minute, hour, day of the month, month and day of the week, such as "0 2 * * 6"`

var (
	cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	// cronField is stricter than the parser, which passes over what it does not expect, as in "*-5" and "1,,2".
	cronField = regexp.MustCompile(`^` + cronRange + `(,` + cronRange + `)*$`)
)

const cronRange = `([*?]|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?`

// sometime is any moment of a leap year: schedules that do not come within five years of it never come.
var sometime = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// schedule parses when a window opens. A zone of nil, for one that was refused, is as good as any.
func schedule(path *field.Path, text string, zone *time.Location) (cron.Schedule, *field.Error) {
	text = strings.TrimSpace(text)
	refuse := func(complaint string) *field.Error { return field.Invalid(path, text, complaint) }
	switch {
	case text == "":
		return nil, field.Required(path, "when the window opens: "+scheduleForm)
	case strings.Contains(text, "TZ="):
		// The parser reads it, and panics where nothing follows.
		return nil, refuse("a schedule has no TZ= in front: write the zone into timeZone")
	case strings.HasPrefix(text, "@every"):
		return nil, refuse("@every counts from the start of a program and not by the clock: expected " + scheduleForm)
	case !strings.HasPrefix(text, "@"):
		for part := range strings.FieldsSeq(text) {
			if !cronField.MatchString(part) {
				return nil, refuse(fmt.Sprintf("expected %s: cannot read %q", scheduleForm, excerpt(part, maxExcerpt)))
			}
		}
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return nil, refuse("expected " + scheduleForm + ": " + err.Error())
	}
	clock, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, refuse("expected " + scheduleForm)
	}
	clock.Location = time.UTC
	if clock.Next(sometime).IsZero() {
		return nil, refuse("no year has such a day")
	}
	clock.Location = zone
	return clock, nil
}

// minWindow is the step in which schedules count.
const minWindow = time.Minute

// opening parses how long a window stays open.
func opening(path *field.Path, text string) (time.Duration, *field.Error) {
	d, err := parseDuration(text)
	if err != nil || d < minWindow {
		return 0, field.Invalid(path, text, "expected a duration of 1m or more, such as 90m or 4h")
	}
	return d, nil
}

// timeZone finds a time zone by its name in the IANA database. The zone of the machine that the controller runs on is none: it
// may be another one tomorrow.
func timeZone(path *field.Path, text string) (*time.Location, *field.Error) {
	zone, err := time.LoadLocation(text)
	if err != nil || text == "" || zone == time.Local {
		return nil, field.Invalid(path, text, "expected UTC or the name of a time zone such as Europe/Berlin")
	}
	return zone, nil
}
