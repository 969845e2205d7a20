package history

// Impossible says why an event cannot meet a phase, or does so too seldom to be waited for, "" where it has to be met.
func Impossible(event, phase string) string {
	for _, i := range impossible {
		if i.event == event && (i.phase == phase || i.phase == "") {
			return i.why
		}
	}
	return ""
}

// Why pairs of event and phase need not be met.
const (
	noGate   = "no gate is open in this phase, but for a payload that stays, and no other runtime begins on the node"
	noLabel  = "a node has no gate label in this phase, but for another runtime"
	another  = "the command is one of another runtime, which fails on such a node often enough; that it hangs there changes nothing for this one"
	watching = "the ten seconds of a soak are too short for people to cordon a node, and to uncordon it again"
)

var impossible = []struct{ event, phase, why string }{
	{"pod made", "Blocked", noGate},
	{"pod gone", "Blocked", noGate},
	{"command begins", "Blocked", noGate},
	{"command done", "Blocked", noGate},
	{"command fails", "Blocked", noGate},
	{"command hangs", "Blocked", noGate},
	{"pod made", "Draining", noGate},
	{"pod gone", "Draining", noGate},
	{"command begins", "Draining", noGate},
	{"command done", "Draining", noGate},
	{"command fails", "Draining", noGate},
	{"command hangs", "Draining", noGate},
	{"gate is wiped", "Blocked", noLabel},
	{"gate is wiped", "Draining", noLabel},
	{"gate is wiped", "Failed", noLabel},
	{"gate is wiped", "Pending", noLabel},
	{"gate is wiped", "Nothing", noLabel},
	{"command hangs", "Failed", another},
	{"command hangs", "Soaking", another},
	{"command hangs", "Pending", another},
	{"command fails", "Pending", another},
	{"command fails", "Failed", another},
	{"command fails", "Soaking", another},
	{"people uncordon", "Soaking", watching},
}
