package spec

import (
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

func TestScaledMax(t *testing.T) {
	for _, c := range []struct {
		value       string
		total       int
		max, failed int
	}{
		{"1", 0, 1, 1},
		{"5", 3, 5, 5},
		{"0", 10, 1, 0},
		{"10%", 0, 1, 0},
		{"10%", 9, 1, 0},
		{"10%", 10, 1, 1},
		{"10%", 19, 1, 1},
		{"10%", 20, 2, 2},
		{"33%", 100, 33, 33},
		{"1%", 5000, 50, 50},
		{"100%", 7, 7, 7},
		{"0%", 100, 1, 0},
		{"nonsense", 100, 1, 0},
	} {
		v := intstr.Parse(c.value)
		if got := ScaledMax(v, c.total); got != c.max {
			t.Errorf("ScaledMax(%s, %d) = %d, want %d", c.value, c.total, got, c.max)
		}
		if got := ScaledFailed(v, c.total); got != c.failed {
			t.Errorf("ScaledFailed(%s, %d) = %d, want %d", c.value, c.total, got, c.failed)
		}
	}
}

// A percentage never allows more than its share, except for the one node without which nothing would ever happen.
func TestScaledNeverExceedsItsShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		total := rapid.IntRange(0, maxCount).Draw(t, "total")
		v := intstr.FromString(strconv.Itoa(percent) + "%")
		failed := ScaledFailed(v, total)
		if failed*100 > total*percent || (failed+1)*100 <= total*percent {
			t.Fatalf("%d%% of %d is %d", percent, total, failed)
		}
		if got := ScaledMax(v, total); got != max(1, failed) {
			t.Fatalf("the budget is %d, %d may fail", got, failed)
		}
		if ScaledMax(v, total+1) < ScaledMax(v, total) {
			t.Fatal("one node more allows less")
		}
	})
}
