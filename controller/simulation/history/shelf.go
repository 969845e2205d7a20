package history

import (
	"cmp"
	"slices"
	"time"
)

// remembered is how many versions of each kind are kept for those who see late.
const remembered = 24

// entry is one version of one object. It never changes.
type entry[T any] struct {
	name    string
	version int
	value   T
}

// frame is all objects of a kind at one version, sorted by name. It never changes.
type frame[T any] struct {
	version int
	at      time.Time
	list    []*entry[T]
}

// shelf holds the objects of one kind, and how they were.
type shelf[T any] struct {
	// first is the number of frames[0]: older ones are forgotten.
	first  int
	frames []frame[T]
}

func newShelf[T any]() *shelf[T] { return &shelf[T]{frames: []frame[T]{{}}} }

func (s *shelf[T]) last() int          { return s.first + len(s.frames) - 1 }
func (s *shelf[T]) now() []*entry[T]   { return s.frames[len(s.frames)-1].list }
func (s *shelf[T]) at(n int) *frame[T] { return &s.frames[max(n-s.first, 0)] }
func find[T any](list []*entry[T], name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(e *entry[T], name string) int { return cmp.Compare(e.name, name) })
}

func (s *shelf[T]) get(name string) *entry[T] {
	if i, ok := find(s.now(), name); ok {
		return s.now()[i]
	}
	return nil
}

// put stores a version of an object.
func (s *shelf[T]) put(w *World, name string, value T) *entry[T] {
	w.version++
	e := &entry[T]{name: name, version: w.version, value: value}
	i, there := find(s.now(), name)
	list := slices.Clone(s.now())
	if there {
		list[i] = e
	} else {
		list = slices.Insert(list, i, e)
	}
	s.push(w, list)
	return e
}

func (s *shelf[T]) remove(w *World, name string) {
	i, there := find(s.now(), name)
	if !there {
		return
	}
	w.version++
	s.push(w, slices.Delete(slices.Clone(s.now()), i, i+1))
}

func (s *shelf[T]) push(w *World, list []*entry[T]) {
	s.frames = append(s.frames, frame[T]{version: w.version, at: w.now, list: list})
	if len(s.frames) > remembered {
		s.frames = slices.Delete(s.frames, 0, 1)
		s.first++
	}
}

// sight is what one leader has seen of a kind: a frame that may be an old one, and what its own writes gave back since.
type sight[T any] struct {
	shelf *shelf[T]
	at    int
	own   map[string]*entry[T]
	// deaf is true while answers get lost.
	deaf *bool
}

func (s *sight[T]) behind() int { return s.shelf.last() - s.at }

// advance has the watch deliver n events more.
func (s *sight[T]) advance(n int) { s.at = max(min(s.at+n, s.shelf.last()), s.shelf.first) }

func (s *sight[T]) wrote(e *entry[T]) {
	if *s.deaf {
		return
	}
	if s.own == nil {
		s.own = map[string]*entry[T]{}
	}
	s.own[e.name] = e
}

// list is what is seen: what we wrote ourselves shows at once.
func (s *sight[T]) list() []*entry[T] {
	f := s.shelf.at(s.at)
	if len(s.own) == 0 {
		return f.list
	}
	out := slices.Clone(f.list)
	for name, e := range s.own {
		i, there := find(out, name)
		switch {
		case e.version <= f.version:
			delete(s.own, name)
		case there && e.version > out[i].version:
			out[i] = e
		case !there:
			out = slices.Insert(out, i, e)
		}
	}
	return out
}

// oldest is since when the first event that is not delivered has been waiting, the zero time where there is none.
func (s *sight[T]) oldest() time.Time {
	if s.behind() == 0 {
		return time.Time{}
	}
	return s.shelf.at(s.at + 1).at
}
