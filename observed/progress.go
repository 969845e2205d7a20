package observed

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"

	kjson "sigs.k8s.io/json"
)

// Phase is where a node is with a runtime.
//
//	  Pending ──turn──► [Draining] ──► Installing ──verified──► Ready ──soak──► counts as done
//	     ▲                                 │                      │
//	     │ new revision,                   │ attempts or time     │ NotReady during the soak
//	     │ drift, retry                    ▼ used up              ▼
//	     └─────────────────────────────── Failed ◄────────────────┘
//	Ready or Failed ── deselected, spec gone ──► [Draining] ──► [Blocked] ──► Uninstalling ──► nothing left on the node
type Phase string

// The phases of a node. PhasePending stands on a node only after a turn was given back; a node that waits for its first
// turn carries nothing at all. PhaseDraining and PhaseBlocked are before the gate opens: pods are looked for that have to leave
// first, and in PhaseBlocked there are some that Longshore may not, or does not know how to, evict.
const (
	PhasePending      Phase = "Pending"
	PhaseDraining     Phase = "Draining"
	PhaseBlocked      Phase = "Blocked"
	PhaseInstalling   Phase = "Installing"
	PhaseReady        Phase = "Ready"
	PhaseFailed       Phase = "Failed"
	PhaseUninstalling Phase = "Uninstalling"
)

// Operation is what is done to a node.
type Operation string

// The operations.
const (
	Install   Operation = "install"
	Uninstall Operation = "uninstall"
)

// The steps of operations, in the order in which they go. With most completions all commands of an operation are in one pod, the step is the
// operation's own; with completion NodeLabel each command is a step with an installer of its own. Verification always is one.
const (
	StepPre       = "pre"
	StepInstall   = "install"
	StepVerify    = "verify"
	StepUninstall = "uninstall"
	StepCleanup   = "cleanup"
	StepPost      = "post"
)

// Steps are all steps that an operation may have, in order.
func (o Operation) Steps() []string {
	if o == Uninstall {
		return []string{StepUninstall, StepCleanup, StepPost}
	}
	return []string{StepPre, StepInstall, StepVerify}
}

// OperationOf is the operation that a step belongs to.
func OperationOf(step string) Operation {
	switch step {
	case StepUninstall, StepCleanup, StepPost:
		return Uninstall
	}
	return Install
}

// MaxMessage is the longest message in a progress, in bytes.
const MaxMessage = 1024

// Progress is the node annotation that tells one runtime's story on one node.
type Progress struct {
	Phase     Phase     `json:"phase"`
	Operation Operation `json:"operation,omitempty"`
	Step      string    `json:"step,omitempty"`
	Revision  string    `json:"revision,omitempty"`
	// Previous is the revision that was installed before this operation; on a Ready node, before the one that led to it.
	Previous string `json:"previous,omitempty"`
	// Attempted is the revision whose command last began on the node before this operation: an uninstall has to undo that one, if no
	// command of this operation begins.
	Attempted string `json:"attempted,omitempty"`
	// Attempt is the number of the try under way, beginning with 1.
	Attempt int `json:"attempt,omitempty"`
	// Since is when the phase began.
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	// PodUID is the pod whose command is known to have begun, "" while none is.
	PodUID    string `json:"podUID,omitempty"`
	MachineID string `json:"machineID,omitempty"`
	BootID    string `json:"bootID,omitempty"`
	// Cordoned is true while it is Longshore that has cordoned the node, and that will uncordon it.
	Cordoned bool `json:"cordoned,omitempty"`
	// Broken is true of a node that is emptied for an operation, and that had failed before: it is out of service whatever becomes of that.
	Broken bool `json:"broken,omitempty"`
	// Tainted is true while a payload image that took the place of the spec's is, or may be, on the node.
	Tainted bool `json:"tainted,omitempty"`
	// Retry is the value of the retry annotation that was last obeyed.
	Retry string `json:"retry,omitempty"`
	// Exits counts the failed ends of the command in the pod PodUID that Attempt already contains or excuses.
	Exits int `json:"exits,omitempty"`
	// Excused is true once a kill by the restart of the container runtime was not counted as an attempt.
	Excused bool `json:"excused,omitempty"`
	// Unwatched is true of a Ready node that was not in service before, and so is not watched for the soak.
	Unwatched bool `json:"unwatched,omitempty"`
	// Repairs counts the installs in a row that brought back a handler which was lost soon after the one before.
	Repairs int `json:"repairs,omitempty"`
	// Turn is the id of the booking that this was written under, or with which it was given back.
	Turn string `json:"turn,omitempty"`

	// unknown holds fields of a later version, kept as they were.
	unknown map[string]json.RawMessage
}

// progressFields is Progress without its methods, for the default codec.
type progressFields Progress

// ParseProgress reads the annotation's value. The error says what is wrong with it.
func ParseProgress(value string) (*Progress, error) {
	var fields progressFields
	// Names that differ in case are other fields: taken for ours, they would come back at the next read and win over what was written.
	if err := kjson.UnmarshalCaseSensitivePreserveInts([]byte(value), &fields); err != nil {
		return nil, fmt.Errorf("progress is not readable: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &all); err != nil {
		return nil, fmt.Errorf("progress is not a JSON object: %w", err)
	}
	maps.DeleteFunc(all, func(key string, _ json.RawMessage) bool { return knownFields[key] })
	if len(all) > 0 {
		fields.unknown = all
	}
	p := Progress(fields)
	if year := p.Since.UTC().Year(); year < 0 || year > 9999 {
		return nil, fmt.Errorf("progress has since %q, expected a year of four digits in UTC", p.Since)
	}
	switch p.Phase {
	case PhasePending, PhaseDraining, PhaseBlocked, PhaseInstalling, PhaseReady, PhaseFailed, PhaseUninstalling:
	default:
		return nil, fmt.Errorf("progress has phase %q, expected one of Pending, Draining, Blocked, Installing, Ready, Failed, Uninstalling", p.Phase)
	}
	if !p.Phase.allows(p.Operation) {
		return nil, fmt.Errorf("progress has operation %q with phase %s, expected %s", p.Operation, p.Phase, p.Phase.operations())
	}
	if err := p.checkRevisions(); err != nil {
		return nil, err
	}
	p.share()
	return &p, nil
}

// revisions is what every revision looks like, whatever made its hash: it becomes part of label values and of the turns, where a space would end it.
var revisions = regexp.MustCompile(`^[a-z0-9]{0,50}$`)

// checkRevisions refuses what could be written to the turns, or to a gate, and not be read back.
func (p *Progress) checkRevisions() error {
	for _, field := range []struct{ name, value string }{{"revision", p.Revision}, {"previous", p.Previous}, {"attempted", p.Attempted}} {
		if !revisions.MatchString(field.value) {
			return fmt.Errorf("progress has %s %q, expected lowercase letters and digits", field.name, field.value)
		}
	}
	if p.Revision == "" && p.Phase != PhasePending {
		return fmt.Errorf("progress has no revision with phase %s, expected one", p.Phase)
	}
	if strings.ContainsFunc(p.Turn, unicode.IsSpace) {
		return fmt.Errorf("progress has turn %q, expected no space in it", p.Turn)
	}
	return nil
}

// allows reports whether an operation makes sense in a phase: what makes none could be written to the turns, and not be read back.
func (p Phase) allows(o Operation) bool {
	switch p {
	case PhaseInstalling, PhaseReady:
		return o == Install
	case PhaseUninstalling:
		return o == Uninstall
	case PhasePending:
		return o == "" || o == Install || o == Uninstall
	case PhaseDraining, PhaseBlocked, PhaseFailed:
	}
	return o == Install || o == Uninstall
}

func (p Phase) operations() string {
	switch p {
	case PhaseInstalling, PhaseReady:
		return "install"
	case PhaseUninstalling:
		return "uninstall"
	case PhasePending:
		return "install, uninstall or none"
	case PhaseDraining, PhaseBlocked, PhaseFailed:
	}
	return "install or uninstall"
}

// share lets all nodes that say the same say it with the same memory: comparing is then comparing pointers.
func (p *Progress) share() {
	p.Phase, p.Operation = shared(p.Phase), shared(p.Operation)
	p.Step, p.Revision, p.Previous = shared(p.Step), shared(p.Revision), shared(p.Previous)
	p.Reason, p.Message, p.MachineID, p.BootID = shared(p.Reason), shared(p.Message), shared(p.MachineID), shared(p.BootID)
}

func shared[T ~string](text T) T { return T(unique.Make(string(text)).Value()) }

// String is the annotation's value: JSON with sorted unknown fields behind ours.
func (p *Progress) String() string {
	fields := progressFields(*p)
	fields.Since = fields.Since.UTC().Truncate(time.Millisecond)
	fields.Message = Shorten(fields.Message, MaxMessage)
	known, err := json.Marshal(fields)
	if err != nil {
		// Only values that JSON has no form for can fail; Progress has none.
		return "{}"
	}
	if len(p.unknown) == 0 {
		return string(known)
	}
	rest, err := json.Marshal(p.unknown)
	if err != nil {
		return string(known)
	}
	return string(known[:len(known)-1]) + "," + string(rest[1:])
}

// Next is a progress that follows this one: fields of a later version go with it. It works on nil.
func (p *Progress) Next(next Progress) *Progress {
	if p != nil {
		next.unknown = p.unknown
	}
	return &next
}

// The reasons of failures after an install that had succeeded: the node offered the runtime before it failed. Package rollout gives them their meaning.
const (
	NotReadyInSoak    = "NotReadyInSoak"
	PayloadNotReady   = "PayloadNotReady"
	HandlerLost       = "HandlerLost"
	HandlerLostInSoak = "HandlerLostInSoak"
)

// FailedAfter reports whether a node failed after its install had succeeded.
func (p *Progress) FailedAfter() bool {
	if p.Phase != PhaseFailed || p.Operation != Install {
		return false
	}
	switch p.Reason {
	case NotReadyInSoak, PayloadNotReady, HandlerLost, HandlerLostInSoak:
		return true
	}
	return false
}

// Shorten cuts text to at most limit bytes at a rune's border and says so; control characters but newlines become spaces.
func Shorten(text string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if r != '\n' && (r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError) {
			return ' '
		}
		return r
	}, text)
	if len(clean) <= limit {
		return clean
	}
	const mark = "…"
	// The end of an output says more than its beginning.
	cut := len(clean) - limit + len(mark)
	for cut < len(clean) && !utf8.RuneStart(clean[cut]) {
		cut++
	}
	return mark + clean[cut:]
}

var knownFields = fieldNames()

func fieldNames() map[string]bool {
	full := progressFields{
		Phase: "x", Operation: "x", Step: "x", Revision: "x", Previous: "x", Attempted: "x", Attempt: 1, Since: time.Unix(1, 0), Reason: "x",
		Message: "x", PodUID: "x", MachineID: "x", BootID: "x", Cordoned: true, Broken: true, Tainted: true, Retry: "x", Exits: 1, Excused: true, Unwatched: true, Repairs: 1, Turn: "x",
	}
	names := map[string]bool{}
	text, err := json.Marshal(full)
	if err != nil {
		return names
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return names
	}
	for name := range object {
		names[name] = true
	}
	return names
}
