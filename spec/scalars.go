package spec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// scalar is the reader of a key whose value is plain text. Space around the text is not part of it: files that a generator
// reads end in a newline.
func scalar[S, T any](in func(*S) *T, f form[T]) value[S] {
	return value[S]{func(s *S, path *field.Path, text string) field.ErrorList {
		text = strings.TrimSpace(text)
		if text == "" {
			return field.ErrorList{field.Required(path, "the value is empty: write one, or leave the key out")}
		}
		value, err := f.parse(path, text)
		if err != nil {
			return field.ErrorList{err}
		}
		*in(s) = value
		return nil
	}, f.shape}
}

// oneOf parses one of a few words.
func oneOf[T ~string](values ...T) form[T] {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	parse := func(path *field.Path, text string) (T, *field.Error) {
		if !slices.Contains(values, T(text)) {
			return "", field.NotSupported(path, text, values)
		}
		return T(text), nil
	}
	return form[T]{shape{expected: "one of " + strings.Join(words, ", "), words: words}, parse}
}

// image parses an image reference as the kubelet does.
func image(path *field.Path, text string) (string, *field.Error) {
	_, err := reference.ParseNormalizedNamed(text)
	switch {
	case err == nil:
		return text, nil
	case strings.Contains(text, "://"):
		return "", field.Invalid(path, text, "expected an image, which has no https:// in front, such as "+sampleImage)
	}
	return "", field.Invalid(path, text, "expected an image such as "+sampleImage+": "+err.Error())
}

const sampleImage = "registry.example.com/team/payload:1.2.3"

// budget parses how many nodes may be out of service: at least one, or nothing would ever happen.
func budget(path *field.Path, text string) (intstr.IntOrString, *field.Error) {
	return amount(path, text, 1)
}

// tolerance parses how many nodes may fail: none, if so wished.
func tolerance(path *field.Path, text string) (intstr.IntOrString, *field.Error) {
	return amount(path, text, 0)
}

// maxCount is more nodes than any cluster has.
const maxCount = 1_000_000

func amount(path *field.Path, text string, least int) (intstr.IntOrString, *field.Error) {
	digits, isPercent := strings.CutSuffix(text, "%")
	most := maxCount
	if isPercent {
		most = 100
	}
	n, ok := wholeNumber(digits)
	if !ok || n < least || n > most {
		return intstr.IntOrString{}, field.Invalid(path, text,
			fmt.Sprintf("expected a number of nodes of at least %d, or a percentage from %d%% to 100%%", least, least))
	}
	if isPercent {
		return intstr.FromString(strconv.Itoa(n) + "%"), nil
	}
	return intstr.FromInt32(int32(n)), nil
}

// wholeNumber reads decimal digits, without sign, leading zero or separators. Numbers of more than nine digits are not ok.
func wholeNumber(text string) (int, bool) {
	if text == "" || len(text) > 9 || (text[0] == '0' && text != "0") {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// maxAttempts keeps the history of a node readable.
const maxAttempts = 1000

func count(path *field.Path, text string) (int, *field.Error) {
	n, ok := wholeNumber(text)
	if !ok || n < 1 || n > maxAttempts {
		return 0, field.Invalid(path, text, fmt.Sprintf("expected a whole number from 1 to %d", maxAttempts))
	}
	return n, nil
}

// duration parses a time to wait; none, if so wished.
func duration(path *field.Path, text string) (time.Duration, *field.Error) {
	d, err := parseDuration(text)
	if err != nil || d < 0 {
		return 0, field.Invalid(path, text, "expected a duration of 0s or more, such as 90s, 15m or 1h30m")
	}
	return d, nil
}

// minTimeout is the least that gives a pod the time to start at all.
const minTimeout = time.Second

// timeout parses a time in which something has to be done.
func timeout(path *field.Path, text string) (time.Duration, *field.Error) {
	d, err := parseDuration(text)
	if err != nil || d < minTimeout {
		return 0, field.Invalid(path, text, "expected a duration of 1s or more, such as 90s, 15m or 1h30m")
	}
	return d, nil
}

// maxGrace is the longest time for which Longshore acts as if nothing had changed: what is longer is a pause or deletionPolicy: Orphan.
const maxGrace = 24 * time.Hour

// grace parses a time in which people may still think better of it; none, if so wished.
func grace(path *field.Path, text string) (*time.Duration, *field.Error) {
	d, err := parseDuration(text)
	if err != nil || d < 0 || d > maxGrace {
		return nil, field.Invalid(path, text, "expected a duration from 0s to 24h, such as 90s, 15m or 1h30m")
	}
	return &d, nil
}

var errTooLong = errors.New("too long")

func parseDuration(text string) (time.Duration, error) {
	if len(text) > maxExcerpt {
		return 0, errTooLong
	}
	return time.ParseDuration(text)
}

func truth(path *field.Path, text string) (bool, *field.Error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, field.NotSupported(path, text, []string{"true", "false"})
}
