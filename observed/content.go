package observed

import (
	"encoding/json"
	"fmt"
)

// ContentFormat is the newest format of [RevisionContent] that this version writes and the newest that it reads. Format 2 has revisions whose
// completion is not Exit: a version that knows only format 1 would wait for an exit that never comes.
const ContentFormat = 2

// EncodeContent is the data of a ControllerRevision. The same content gives the same bytes.
func EncodeContent(content *RevisionContent) ([]byte, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding a revision's content: %w", err)
	}
	return data, nil
}

// DecodeContent reads what EncodeContent wrote. Content of a newer format is an error: it may ask for an uninstall that this
// version would do wrong.
func DecodeContent(data []byte) (*RevisionContent, error) {
	var content RevisionContent
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("the revision's data is not readable: %w", err)
	}
	switch {
	case content.Format < 1:
		return nil, fmt.Errorf("the revision's data has format %d, expected 1 to %d: it was not written by Longshore", content.Format, ContentFormat)
	case content.Format > ContentFormat:
		return nil, fmt.Errorf("the revision's data has format %d, expected 1 to %d: it was written by a newer version", content.Format, ContentFormat)
	}
	for step := range content.DoneLabels {
		if content.DaemonSets[step] == nil {
			return nil, fmt.Errorf("the revision's data has a done label and no DaemonSet for the step %q", step)
		}
	}
	for step, set := range content.DaemonSets {
		if set == nil {
			return nil, fmt.Errorf("the revision's data has no DaemonSet under the step %q", step)
		}
	}
	return &content, nil
}
