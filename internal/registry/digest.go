package registry

import (
	"github.com/cespare/xxhash/v2"
)

// digestPages is into how many pages a digest divides the keys.
const digestPages = 64

// Digest sums up which keys there are, and at which revision each of them last
// changed, by pages of keys: those whose hash falls into the page. Two sets of
// keys have an equal digest if they are equal, and, for all that is likely, only
// then. The order in which keys come doesn't matter. The zero value is that of
// no keys.
type Digest struct {
	pages [digestPages]digestPage
}

type digestPage struct {
	count int64
	sum   uint64
}

// Set takes note that a key went from one revision of its last change to
// another one. 0 stands for no such key.
func (d *Digest) Set(key string, from, to int64) {
	h := xxhash.Sum64String(key)
	p := &d.pages[h%digestPages]
	if from != 0 {
		p.count--
		p.sum -= digestOf(h, from)
	}
	if to != 0 {
		p.count++
		p.sum += digestOf(h, to)
	}
}

// digestOf mixes a key's hash with a revision, so that sums of several don't
// come out equal for keys that have swapped their revisions (the finalizer of
// SplitMix64).
func digestOf(h uint64, revision int64) uint64 {
	h += uint64(revision) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Difference is how a digest differs from that of the registry. Each number is
// the least that it can be: what is missing from a page and what it has too
// much make up for each other.
type Difference struct {
	// Missing keys are in the registry only, Extra ones in the index only;
	// Stale ones are in both, as they were at different revisions.
	Missing, Extra, Stale int64
}

// Compare returns how the digest differs from the registry's.
func (d *Digest) Compare(registry *Digest) (diff Difference) {
	for n := range d.pages {
		have, want := &d.pages[n], &registry.pages[n]
		switch {
		case have.count < want.count:
			diff.Missing += want.count - have.count
		case have.count > want.count:
			diff.Extra += have.count - want.count
		case have.sum != want.sum:
			diff.Stale++
		}
	}
	return diff
}

// Keys returns how many keys there are.
func (d *Digest) Keys() int64 {
	n := int64(0)
	for i := range d.pages {
		n += d.pages[i].count
	}
	return n
}
