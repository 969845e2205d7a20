package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	rule    = regexp.MustCompile(`^\|[-|]+\|$`)
	quoted  = regexp.MustCompile("`([^`]+)`")
)

const reference = "reference.md"

// table is the rows of the table in a file under a heading whose first column has this title.
func table(t *testing.T, file, under, title string) [][]string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	var lines []string
	places := heading.FindAllStringSubmatchIndex(text, -1)
	for i, at := range places {
		if text[at[2]:at[3]] != under {
			continue
		}
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		lines = strings.Split(text[at[1]:end], "\n")
	}
	for i := 0; i+1 < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "| "+title+" |") || !rule.MatchString(lines[i+1]) {
			continue
		}
		var rows [][]string
		for _, line := range lines[i+2:] {
			if !strings.HasPrefix(line, "|") {
				break
			}
			rows = append(rows, cells(line))
		}
		return rows
	}
	t.Fatalf("docs/%s has no table %q under the heading %q", file, title, under)
	return nil
}

func cells(line string) []string {
	parts := strings.Split(strings.Trim(line, "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// first is what stands in backquotes in the first column, or the plain text of cells that have none.
func first(t *testing.T, file, under, title string) []string {
	t.Helper()
	return column(t, file, under, title, 0)
}

func column(t *testing.T, file, under, title string, number int) []string {
	t.Helper()
	var found []string
	for _, row := range table(t, file, under, title) {
		words := backquoted(row[number])
		if len(words) == 0 {
			words = []string{row[number]}
		}
		found = append(found, words...)
	}
	return found
}

func backquoted(cell string) []string {
	var words []string
	for _, found := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, found[1])
	}
	return words
}
