package gitops

import (
	"fmt"
	"strings"
	"time"
)

// application is what the tests read of an Application.
type application struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Status struct {
		Conditions   []struct{ Type, Message string }  `json:"conditions"`
		Health       struct{ Status, Message string }  `json:"health"`
		ReconciledAt time.Time                         `json:"reconciledAt"`
		Sync         struct{ Status, Revision string } `json:"sync"`
		Operation    struct {
			Phase, Message string
			SyncResult     struct{ Revision string } `json:"syncResult"`
		} `json:"operationState"`
		Resources []struct {
			Kind, Name, Status string
			Health             struct{ Status, Message string } `json:"health"`
		} `json:"resources"`
	} `json:"status"`
}

// verdict needs everything that a user looks at: Synced at the commit, Healthy, and an operation that has ended
// well.
func (a *application) verdict(commit string) verdict {
	s := &a.Status
	said := []string{fmt.Sprintf("%s, %s", s.Sync.Status, s.Health.Status)}
	if s.Operation.Phase != "" {
		said[0] += fmt.Sprintf(", operation %s", s.Operation.Phase)
		if s.Operation.Phase != "Succeeded" {
			said[0] += fmt.Sprintf(" (%s)", s.Operation.Message)
		}
	}
	failed := s.Operation.Phase == "Failed" || s.Operation.Phase == "Error"
	for _, c := range s.Conditions {
		said = append(said, c.Type+": "+c.Message)
		failed = failed || strings.HasSuffix(c.Type, "Error")
	}
	for _, r := range s.Resources {
		if r.Health.Message != "" {
			said = append(said, fmt.Sprintf("%s %s: %s", r.Name, r.Health.Status, r.Health.Message))
		}
	}
	words := strings.Join(said, "; ")
	v := verdict{kind: busy, words: words}
	_, asked := a.Metadata.Annotations["argocd.argoproj.io/refresh"]
	switch {
	case asked || s.Sync.Revision != commit:
		v.words = "has not come to the commit: " + words
	case failed || s.Health.Status == "Degraded" || s.Health.Status == "Missing" && s.Operation.Phase == "Failed":
		v.kind = bad
	case s.Sync.Status == "Synced" && s.Health.Status == "Healthy" && s.Operation.Phase == "Succeeded":
		v.kind = good
	}
	return v
}
