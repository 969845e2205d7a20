package spec

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Limits of what a person has to read.
const (
	maxErrors  = 100
	maxExcerpt = 64
	maxPath    = 256
	maxDetail  = 512
)

// readable shortens what a spec can blow up: the number of errors, and the texts that they quote.
func readable(errs field.ErrorList) field.ErrorList {
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors:maxErrors],
			field.Invalid(field.NewPath("data"), field.OmitValueType{}, fmt.Sprintf("and %d more errors", more)))
	}
	for _, err := range errs {
		err.Field = excerpt(err.Field, maxPath)
		err.Detail = excerpt(err.Detail, maxDetail)
		if v := reflect.ValueOf(err.BadValue); v.Kind() == reflect.String {
			err.BadValue = excerpt(v.String(), maxExcerpt)
		}
	}
	return errs
}

// excerpt is the beginning of a text.
func excerpt(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
