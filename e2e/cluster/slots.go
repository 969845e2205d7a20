package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// slot is the place of a real node in the cluster's network: its address and its pods' addresses follow from the number. A slot is a file that
// is made before the node and removed after it, so that two processes cannot take the same, and none is forgotten.
type slot struct {
	number int
	name   string
}

func (l layout) readSlots() ([]slot, error) {
	entries, err := os.ReadDir(l.slots())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var slots []slot
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: expected a number: %w", filepath.Join(l.slots(), entry.Name()), err)
		}
		name, err := os.Readlink(filepath.Join(l.slots(), entry.Name()))
		if err != nil {
			return nil, err
		}
		slots = append(slots, slot{number, name})
	}
	slices.SortFunc(slots, func(a, b slot) int { return a.number - b.number })
	return slots, nil
}

// takeSlot uses a link for the file, because making one with its content is atomic.
func (l layout) takeSlot(name string) (slot, error) {
	slots, err := l.readSlots()
	if err != nil {
		return slot{}, err
	}
	for _, s := range slots {
		if s.name == name {
			return slot{}, fmt.Errorf("node %q: %w", name, fs.ErrExist)
		}
	}
	for number := range maxSlots {
		err := os.Symlink(name, filepath.Join(l.slots(), strconv.Itoa(number)))
		if err == nil {
			return slot{number, name}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return slot{}, err
		}
	}
	return slot{}, fmt.Errorf("node %q: all %d places for real nodes are taken", name, maxSlots)
}

func (l layout) freeSlot(s slot) error {
	return os.Remove(filepath.Join(l.slots(), strconv.Itoa(s.number)))
}
