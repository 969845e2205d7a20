package spec

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
)

// minimalPool is the shortest pool that is valid.
func minimalPool() map[string]string { return map[string]string{"nodeSelector": "*"} }

func poolWith(key, value string) map[string]string {
	data := minimalPool()
	data[key] = value
	return data
}

func TestAllErrorsOfAPoolComeAtOnce(t *testing.T) {
	_, errs := ParsePool("Data", map[string]string{
		"nodeselector":      "*",
		"maxUnavailable":    "0",
		"maintenanceWindow": "{schedule: 0 2 * *, duration: 4, timezone: UTC}",
		"paused":            "\xff",
		"soak":              "1m",
	}, map[string][]byte{"b.bin": {1}})
	want := []string{
		`metadata.labels[longshore.dev/pool]: Invalid value: "Data": the name of a pool is a DNS label: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
		`binaryData[b.bin]: Forbidden: a pool is text: put the key into data`,
		`data[maxUnavailable]: Invalid value: "0": expected a number of nodes of at least 1, or a percentage from 1% to 100%`,
		`data[maintenanceWindow].duration: Invalid value: "4": expected a string, found a number: put it in quotes`,
		`data[maintenanceWindow].timezone: Forbidden: unknown field, did you mean "timeZone"?`,
		`data[maintenanceWindow].schedule: Invalid value: "0 2 * *": expected minute, hour, day of the month, month and day of the week, such as "0 2 * * 6": expected exactly 5 fields, found 4: [0 2 * *]`,
		`data[paused]: Invalid value: not valid UTF-8`,
		`data[nodeselector]: Forbidden: unknown key, did you mean "nodeSelector"?`,
		`data[soak]: Forbidden: unknown key, expected one of: nodeSelector, maxUnavailable, maintenanceWindow, paused`,
		`data[nodeSelector]: Required value: the nodes of the pool, as for kubectl get nodes -l; "*" is every node`,
	}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
}

func TestAPoolWithoutKeysButOneLeavesAllElseToTheRuntimes(t *testing.T) {
	pool, errs := ParsePool("databases", minimalPool(), nil)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	if pool.Name != "databases" || pool.MaxUnavailable != nil || pool.MaintenanceWindow != nil || pool.Paused {
		t.Errorf("got %+v", pool)
	}
	for os, selected := range map[string]bool{"linux": true, "windows": false} {
		if got := pool.NodeSelector.Matches(labels.Set{"kubernetes.io/os": os}); got != selected {
			t.Errorf("a node with %s is in the pool: %t", os, got)
		}
	}
}

func TestAWindowOpensInItsOwnTimeZone(t *testing.T) {
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for zone, want := range map[string]string{
		"":                          "2026-12-05T02:00:00Z",
		", timeZone: UTC":           "2026-12-05T02:00:00Z",
		", timeZone: Europe/Berlin": "2026-12-05T01:00:00Z",
		", timeZone: Asia/Kolkata":  "2026-12-04T20:30:00Z",
	} {
		pool, errs := ParsePool("databases", poolWith("maintenanceWindow", "{schedule: 0 2 * * 6, duration: 4h"+zone+"}"), nil)
		if len(errs) > 0 {
			t.Fatal(errs.ToAggregate())
		}
		if got := pool.MaintenanceWindow.Schedule.Next(noon).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q: the window opens at %s, want %s", zone, got, want)
		}
	}
}

func TestPoolNamesAndSize(t *testing.T) {
	for name, want := range map[string]string{
		"":                      "metadata.labels[longshore.dev/pool]: Required value: the value is the name of the pool, such as databases",
		strings.Repeat("a", 41): `metadata.labels[longshore.dev/pool]: Invalid value: "` + strings.Repeat("a", 41) + `": the name of a pool has at most 40 characters, found 41`,
	} {
		_, errs := ParsePool(name, minimalPool(), nil)
		if diff := cmp.Diff([]string{want}, lines(errs)); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}
	_, errs := ParsePool("databases", poolWith("nodeSelector", strings.Repeat(" ", MaxSize)), nil)
	want := []string{"data: Invalid value: keys and values together may have 65536 bytes, found 65548"}
	if diff := cmp.Diff(want, lines(errs)); diff != "" {
		t.Error(diff)
	}
}

func TestHostilePoolsCostLittle(t *testing.T) {
	values := hostileValues()
	fill := func(part string) string { return strings.Repeat(part, (MaxSize-500)/len(part)) }
	for name, schedule := range map[string]string{"minutes": fill("0,"), "fields": fill("* "), "zones": "TZ=" + fill("a"), "stars": fill("*")} {
		values["a schedule of "+name] = "{duration: 1h, schedule: '" + schedule + "'}"
	}
	values["a long time zone"] = "{duration: 1h, schedule: '@daily', timeZone: " + fill("a/") + "}"
	for name, value := range values {
		for _, k := range poolKeys {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, errs := ParsePool("databases", poolWith(k.name, value), nil)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 150 || took > 5*time.Second {
				t.Errorf("%s: %s: took %v and allocated %d MiB in total", k.name, name, took, mib)
			}
			for _, err := range errs {
				if size := len(err.Error()); size > maxPath+maxExcerpt+maxDetail+50 {
					t.Errorf("%s: %s: a message has %d bytes", k.name, name, size)
				}
			}
		}
	}
}
