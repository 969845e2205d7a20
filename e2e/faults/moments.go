package faults

import (
	"net/http"
	"net/url"
	"strings"
)

// Request is what a moment is known by.
type Request struct {
	Method, Path string
	Query        url.Values
	Body         string
}

// Write tells whether the request changes something: a dry run does not.
func (r *Request) Write() bool {
	return r.Method != http.MethodGet && r.Query.Get("dryRun") == ""
}

func (r *Request) is(method, part string) bool {
	return r.Write() && r.Method == method && strings.Contains(r.Path, part)
}

// changes tells whether a JSON Patch does that to a key of a runtime on the node.
func (r *Request) changes(op, suffix string) bool {
	for operation := range strings.SplitSeq(r.Body, "{") {
		if strings.Contains(operation, `"op":"`+op+`"`) && strings.Contains(operation, "longshore.dev~1"+suffix+`"`) {
			return true
		}
	}
	return false
}

// Moment is a kind of request by which a rollout goes on.
type Moment struct {
	Name  string
	Match func(*Request) bool
}

// The paths of what Longshore writes.
const (
	turnsPath     = "/configmaps/longshore-turns"
	nodesPath     = "/api/v1/nodes/"
	installerPath = "/daemonsets/"
	classPath     = "/runtimeclasses/"
	revisionPath  = "/controllerrevisions"
	specPath      = "/namespaces/longshore/configmaps/"
)

// The moments, in the order in which they come in an install and then in an uninstall.
var (
	// Remember is the write of a snapshot, or of a mark on one: what has to be known before it is acted on.
	Remember = Moment{"remember", func(r *Request) bool {
		return r.is(http.MethodPost, revisionPath) || r.is(http.MethodPatch, revisionPath+"/")
	}}
	// Installer is the apply of a DaemonSet.
	Installer = Moment{"DaemonSet", func(r *Request) bool { return r.is(http.MethodPatch, installerPath) }}
	// Booking is a write of turns with at least one in it.
	Booking = Moment{"booking", func(r *Request) bool {
		return r.is(http.MethodPut, turnsPath) && (strings.Contains(r.Body, " install") || strings.Contains(r.Body, " uninstall"))
	}}
	// Gate opens a node.
	Gate = Moment{"gate", func(r *Request) bool { return r.is(http.MethodPatch, nodesPath) && r.changes("add", "gate") }}
	// Result is the end of an install, good or bad.
	Result = Moment{"result", func(r *Request) bool {
		return r.is(http.MethodPatch, nodesPath) && r.changes("add", "progress") && r.changes("remove", "gate")
	}}
	// Noted is a failed try of a command that is not the last one.
	Noted = Moment{"failure noted", func(r *Request) bool {
		return r.is(http.MethodPatch, nodesPath) && r.changes("add", "progress") && !r.changes("add", "gate") && !r.changes("remove", "gate") && strings.Contains(r.Body, "exited ")
	}}
	// Class is the apply of a RuntimeClass.
	Class = Moment{"RuntimeClass", func(r *Request) bool { return r.is(http.MethodPatch, classPath) }}
	// Status is the write of what people read on the spec.
	Status = Moment{"status", func(r *Request) bool { return r.is(http.MethodPatch, specPath) }}
	// Freeing is a write of turns with none left.
	Freeing = Moment{"freeing", func(r *Request) bool { return r.is(http.MethodPut, turnsPath) && !Booking.Match(r) }}
	// Keys is the removal of every key from a node, the end of an uninstall.
	Keys = Moment{"removal of keys", func(r *Request) bool { return r.is(http.MethodPatch, nodesPath) && r.changes("remove", "progress") }}
	// ClassGone, InstallerGone and SnapshotGone delete what nothing needs any more.
	ClassGone     = Moment{"RuntimeClass gone", func(r *Request) bool { return r.is(http.MethodDelete, classPath) }}
	InstallerGone = Moment{"DaemonSet gone", func(r *Request) bool { return r.is(http.MethodDelete, installerPath) }}
	SnapshotGone  = Moment{"snapshot gone", func(r *Request) bool { return r.is(http.MethodDelete, revisionPath+"/") }}
)

// AnyWrite is any change of anything but the lease and events.
var AnyWrite = Moment{"any write", func(r *Request) bool {
	return r.Write() && !strings.Contains(r.Path, "/leases") && !strings.Contains(r.Path, "/events")
}}

// When says where in a moment a trap strikes.
type When string

// The request never reaches the API server; it waits for the strike to return and then goes on; the API server has done it but
// nobody learns; the answer is out.
const (
	Before When = "before"
	Held   When = "held"
	During When = "during"
	After  When = "after"
)

// Trap waits for the first request of a moment.
type Trap struct {
	moment Moment
	when   When
	strike func()
	struck chan struct{}
}

// Struck is closed when the trap has done its work.
func (t *Trap) Struck() <-chan struct{} { return t.struck }
