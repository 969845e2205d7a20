package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call is one request as the API server's audit log has it.
type call struct {
	Verb  string `json:"verb"`
	Agent string `json:"userAgent"`
	User  struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

// what is the verb and the resource.
func (c *call) what() string {
	resource := c.Object.Resource
	if c.Object.Subresource != "" {
		resource += "/" + c.Object.Subresource
	}
	return c.Verb + " " + resource
}

// audit reads an audit log from one moment on.
type audit struct {
	path  string
	start int64
}

// auditFrom begins at the log's present end.
func auditFrom(path string) (*audit, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return &audit{path: path, start: info.Size()}, nil
}

// calls are those since the beginning that are kept, in the order in which they were answered.
func (a *audit) calls(keep func(*call) bool) ([]call, error) {
	file, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(a.start, io.SeekStart); err != nil {
		return nil, err
	}
	var kept []call
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			// The last line may be half written.
			continue
		}
		if keep(&c) {
			kept = append(kept, c)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", a.path, err)
	}
	slices.SortStableFunc(kept, func(x, y call) int { return x.Answered.Compare(y.Answered) })
	return kept, nil
}

// byController tells calls of the controller's account from others. Floors use the same account under another name.
func byController(c *call) bool {
	return c.User.Username == account && strings.HasPrefix(c.Agent, "longshore/")
}

// count counts calls by what they are.
func count(calls []call) map[string]int {
	counts := map[string]int{}
	for i := range calls {
		counts[calls[i].what()]++
	}
	return counts
}

// words lists counts, sorted.
func words(counts map[string]int) string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", what, counts[what]))
	}
	return strings.Join(out, ", ")
}

// sumMetric adds a metric's samples up in the text format of Prometheus.
func sumMetric(text io.Reader, name string) (float64, error) {
	sum, found := 0.0, false
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("metric %s is not there", name)
	}
	return sum, lines.Err()
}

// quantile is the value below which the share q of the sorted values lies.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
