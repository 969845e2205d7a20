package manifests

import (
	"crypto/sha256"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// cacheSize is how many results are kept: many times the runtimes of a cluster, so that a change of one evicts no other.
const cacheSize = 64

// rendered is the outcome of a render; a failure is kept too, because a bad spec stays bad until it changes.
type rendered struct {
	objects *Objects
	errs    field.ErrorList
}

// cache keeps the latest results by content, the least recently used one goes first.
type cache struct {
	results map[[sha256.Size]byte]rendered
	order   [][sha256.Size]byte
}

func (c *cache) get(key [sha256.Size]byte) (rendered, bool) {
	hit, ok := c.results[key]
	if ok {
		c.touch(key)
	}
	return hit, ok
}

func (c *cache) put(key [sha256.Size]byte, r rendered) {
	if c.results == nil {
		c.results = map[[sha256.Size]byte]rendered{}
	}
	c.results[key] = r
	c.touch(key)
	if len(c.order) > cacheSize {
		delete(c.results, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
}

func (c *cache) touch(key [sha256.Size]byte) {
	if i := slices.Index(c.order, key); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
	c.order = append(c.order, key)
}
