package spec

import (
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// shape is what a key's text looks like. The JSON Schema for editors and the admission policy for the API server are
// generated from it. A shape never excludes a text that the parser accepts. It may allow more.
type shape struct {
	// expected names the shape in messages.
	expected string
	// words are the only texts that are allowed; nil where there are other texts.
	words []string
	// pattern is what the whole text matches, without the space around it; "" is any text but an empty one. Patterns use
	// what Go, CEL and ECMAScript have in common.
	pattern string
	// never is what the beginning of the text does not match; "" excludes nothing.
	never string
	// least and most are the limits of a duration; a most of 0 is no limit.
	least, most time.Duration
	// isDuration reports whether least and most count.
	isDuration bool
	// of is the type that the text describes in YAML; nil where the text is plain.
	of reflect.Type
}

// value is how the text of a key is read, and what it looks like.
type value[S any] struct {
	read  reader[S]
	shape shape
}

// form is how the text of a scalar is parsed, and what it looks like.
type form[T any] struct {
	shape shape
	parse func(*field.Path, string) (T, *field.Error)
}

// yamlText is the value of a key that a reader of its own reads as YAML of type T.
func yamlText[S, T any](read reader[S]) value[S] { return value[S]{read, yamlShape[T]()} }

func yamlShape[T any]() shape {
	t := plain(reflect.TypeFor[T]())
	return shape{expected: typeName(t) + " in YAML", of: t}
}

var aSelector = shape{expected: `a label selector as for kubectl get nodes -l, or * for every node`}

// Parts of an image reference, as the kubelet reads it.
const (
	hostPattern   = `(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?`
	pathPattern   = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
	tagPattern    = `:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
	digestPattern = `@[A-Za-z][A-Za-z0-9]*(?:[._+-][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}`
	imagePattern  = `(?:` + hostPattern + `/)?` + pathPattern + `(?:/` + pathPattern + `)*` +
		`(?:` + tagPattern + `)?(?:` + digestPattern + `)?`
)

var anImage = form[string]{shape{expected: "an image such as " + sampleImage, pattern: imagePattern}, image}

// Parts of a duration. A negative one is refused only where its whole number says so: -0s is none.
const (
	unitPattern     = `(?:ns|us|µs|μs|ms|s|m|h)`
	durationPattern = `[+]?(?:0|(?:(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+)` + unitPattern + `)+)` +
		`|-(?:0|(?:(?:0+(?:[.][0-9]*)?|[.][0-9]+)` + unitPattern + `)+)`
)

var (
	aDuration = form[time.Duration]{durationShape("a duration of 0s or more", 0, 0), duration}
	aTimeout  = form[time.Duration]{durationShape("a duration of 1s or more", minTimeout, 0), timeout}
	aGrace    = form[*time.Duration]{durationShape("a duration from 0s to 24h", 0, maxGrace), grace}
)

func durationShape(expected string, least, most time.Duration) shape {
	return shape{
		expected: expected + ", such as 90s, 15m or 1h30m",
		pattern:  durationPattern, least: least, most: most, isDuration: true,
	}
}

// Numbers up to maxCount and maxAttempts.
const (
	budgetPattern    = `[1-9][0-9]{0,5}|1000000|(?:[1-9][0-9]?|100)%`
	tolerancePattern = `0|[1-9][0-9]{0,5}|1000000|(?:0|[1-9][0-9]?|100)%`
	countPattern     = `[1-9][0-9]{0,2}|1000`
)

var (
	aBudget = form[intstr.IntOrString]{shape{
		expected: "a number of nodes of at least 1, or a percentage from 1% to 100%", pattern: budgetPattern,
	}, budget}
	aLimit     = form[*intstr.IntOrString]{aBudget.shape, limit}
	aTolerance = form[intstr.IntOrString]{shape{
		expected: "a number of nodes of at least 0, or a percentage from 0% to 100%", pattern: tolerancePattern,
	}, tolerance}
	aCount = form[int]{shape{expected: "a whole number from 1 to 1000", pattern: countPattern}, count}
	aTruth = form[bool]{shape{expected: "true or false", words: []string{"true", "false"}}, truth}
)

// Parts of a done label.
const (
	labelPattern     = `[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?`
	doneLabelPattern = `(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?` + labelPattern + `(?:=(?:` + labelPattern + `)?|-)`
	ownLabelPattern  = `(?:[^/=]*[.])?longshore[.]dev(?:/|=|-$|$)`
)

var aDoneLabel = form[*DoneLabel]{shape{
	expected: "key=value, or key- for a label that is gone, and no label of longshore.dev",
	pattern:  doneLabelPattern, never: ownLabelPattern,
}, doneLabel}
