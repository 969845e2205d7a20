package observed

import (
	"encoding/json"
	"hash/maphash"
	"iter"
	"maps"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"unique"
	"weak"
)

// LabelSet are the labels of a node: a value that is never changed, on which selectors match directly.
//
// Any label may be what a selector asks for, so that all have to be kept, and thousands of nodes have the same keys and mostly the same
// values. A node has a pointer for each value, and one for the keys, which it shares with the nodes that have the same; a map of its own
// would take ten times that.
type LabelSet struct {
	keys *labelKeys
	// values are in the order of the keys.
	values []unique.Handle[string]
}

// labelKeys are the keys that some nodes have, sorted.
type labelKeys struct {
	names []unique.Handle[string]
	// places are 1 + the place of each key, at the key's hash or the next free one behind it, 0 for none; at least half of them are
	// none. A map would do, but takes ten times the memory, and there may be nodes whose keys no other node has.
	places []uint32
}

func (k *labelKeys) slot(key string) int {
	return int(maphash.String(keySets.seed, key)) & (len(k.places) - 1)
}

// place is where a key is, -1 for nowhere.
func (k *labelKeys) place(key string) int {
	for at := k.slot(key); ; at = (at + 1) & (len(k.places) - 1) {
		i := int(k.places[at]) - 1
		if i < 0 || k.names[i].Value() == key {
			return i
		}
	}
}

func newLabelKeys(keys []string) *labelKeys {
	k := &labelKeys{names: make([]unique.Handle[string], len(keys)), places: make([]uint32, 1<<bits.Len(uint(2*len(keys))))}
	for i, key := range keys {
		k.names[i] = unique.Make(key)
		at := k.slot(key)
		for k.places[at] != 0 {
			at = (at + 1) & (len(k.places) - 1)
		}
		k.places[at] = uint32(i + 1)
	}
	return k
}

// LabelsOf are the labels that stand in a map; no labels of nil and of an empty one.
func LabelsOf(labels map[string]string) LabelSet {
	if len(labels) == 0 {
		return LabelSet{}
	}
	keys := slices.Sorted(maps.Keys(labels))
	l := LabelSet{keys: sharedKeys(keys), values: make([]unique.Handle[string], len(keys))}
	for i, key := range keys {
		l.values[i] = unique.Make(labels[key])
	}
	return l
}

// Len is the number of labels.
func (l LabelSet) Len() int { return len(l.values) }

// IsZero tells whether there are none, for JSON to leave them out.
func (l LabelSet) IsZero() bool { return len(l.values) == 0 }

// Lookup returns the value of a label, and whether there is such a label.
func (l LabelSet) Lookup(key string) (string, bool) {
	if l.keys == nil {
		return "", false
	}
	i := l.keys.place(key)
	if i < 0 {
		return "", false
	}
	return l.values[i].Value(), true
}

// Get returns the value of a label, "" if there is no such label.
func (l LabelSet) Get(key string) string {
	value, _ := l.Lookup(key)
	return value
}

// Has tells whether there is such a label.
func (l LabelSet) Has(key string) bool {
	_, found := l.Lookup(key)
	return found
}

// All are the keys with their values, sorted.
func (l LabelSet) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range l.values {
			if !yield(l.keys.names[i].Value(), l.values[i].Value()) {
				return
			}
		}
	}
}

// Equal tells whether both are the same labels.
func (l LabelSet) Equal(other LabelSet) bool {
	return slices.Equal(l.values, other.values) && (l.keys == other.keys || slices.Equal(l.keys.names, other.keys.names))
}

// Are tells whether the labels are those of a map.
func (l LabelSet) Are(labels map[string]string) bool {
	if len(l.values) != len(labels) {
		return false
	}
	for key, value := range l.All() {
		if have, there := labels[key]; !there || have != value {
			return false
		}
	}
	return true
}

// With are the labels with one more, or with another value of it.
func (l LabelSet) With(key, value string) LabelSet {
	labels := maps.Collect(l.All())
	labels[key] = value
	return LabelsOf(labels)
}

// Without are the labels without one.
func (l LabelSet) Without(key string) LabelSet {
	labels := maps.Collect(l.All())
	delete(labels, key)
	return LabelsOf(labels)
}

// MarshalJSON writes an object, as of a map.
func (l LabelSet) MarshalJSON() ([]byte, error) { return json.Marshal(maps.Collect(l.All())) }

// UnmarshalJSON reads an object.
func (l *LabelSet) UnmarshalJSON(text []byte) error {
	var labels map[string]string
	if err := json.Unmarshal(text, &labels); err != nil {
		return err
	}
	*l = LabelsOf(labels)
	return nil
}

// keySets are the keys of all nodes by their hash. They go when no node has them any more.
var keySets = struct {
	sync.Mutex
	seed   maphash.Seed
	byHash map[uint64]weak.Pointer[labelKeys]
}{seed: maphash.MakeSeed(), byHash: map[uint64]weak.Pointer[labelKeys]{}}

// sharedKeys returns what others with the same keys have. Keys whose hash is that of others by chance are not shared.
func sharedKeys(keys []string) *labelKeys {
	var h maphash.Hash
	h.SetSeed(keySets.seed)
	for _, key := range keys {
		maphash.WriteComparable(&h, key)
	}
	hash := h.Sum64()
	keySets.Lock()
	defer keySets.Unlock()
	if shared := keySets.byHash[hash].Value(); shared != nil && shared.are(keys) {
		return shared
	}
	made := newLabelKeys(keys)
	keySets.byHash[hash] = weak.Make(made)
	runtime.AddCleanup(made, forgetKeys, hash)
	return made
}

func (k *labelKeys) are(keys []string) bool {
	return slices.EqualFunc(k.names, keys, func(name unique.Handle[string], key string) bool { return name.Value() == key })
}

// forgetKeys takes out keys that nobody has any more, unless somebody has made them anew.
func forgetKeys(hash uint64) {
	keySets.Lock()
	defer keySets.Unlock()
	if keySets.byHash[hash].Value() == nil {
		delete(keySets.byHash, hash)
	}
}
