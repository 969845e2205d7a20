package spec

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// ScaledMax is how many of total nodes a budget allows: a percentage is rounded down, and it is never less than 1.
func ScaledMax(v intstr.IntOrString, total int) int { return max(1, scaled(v, total)) }

// ScaledFailed is how many of total nodes may fail before onFailure acts: a percentage is rounded down, and 0 means none.
func ScaledFailed(v intstr.IntOrString, total int) int { return max(0, scaled(v, total)) }

func scaled(v intstr.IntOrString, total int) int {
	if v.Type == intstr.Int {
		return v.IntValue()
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	if err != nil {
		return 0
	}
	return total * percent / 100
}
