package index

import (
	"bytes"
	"hash/maphash"
	"iter"
	"slices"
)

// A node that branches consumes this many bits of the hash. The uppermost bits
// of it are the tags.
const (
	levelBits = 4
	fanOut    = 1 << levelBits
	tagBits   = 8
	// deepest is how many bits there are to branch by.
	deepest = 64 - tagBits
)

// A leaf that has more than fullLeaf entries becomes a branch, and a branch
// that has no more than sparseBranch a leaf again.
const (
	fullLeaf     = 32
	sparseBranch = fullLeaf / 2
)

// seed is one for the process: hashes need not be the same in two of them.
var seed = maphash.MakeSeed()

// owner numbers snapshots, from 1 on. It marks the nodes that were made for the
// next one. Those nobody else can see yet, so they are changed in place; all
// others are copied first.
type owner uint64

// item is a pointer to what a trie holds, which knows its key: a lookup that
// compares it looks at nothing else.
type item[K comparable, E any] interface {
	*E
	key() K
}

// pair is an item that consists of a key and a value.
type pair[K comparable, V any] struct {
	name  K
	value V
}

func (p *pair[K, V]) key() K { return p.name }

// pairs is a trie of keys and values.
type pairs[K comparable, V any] = trie[K, pair[K, V], *pair[K, V]]

// trie is a persistent hash map (a hash trie whose leaves are buckets): a copy
// of the struct is a snapshot that stays as it is, for the price of copying some
// three nodes per later change. That is what makes one change in a rack of
// 300,000 instances as cheap as one among ten, and what a standard map behind a
// pointer can't do.
type trie[K comparable, E any, P item[K, E]] struct {
	root trieNode[K, E, P]
	size int
}

// trieNode is a leaf with entries in no order, or a branch, which has none.
type trieNode[K comparable, E any, P item[K, E]] struct {
	owner owner
	// tags are a piece of the hash of each of the first entries, by which hardly
	// one is looked at in vain.
	tags    [fullLeaf]byte
	entries []E
	branch  *trieBranch[K, E, P]
}

// trieBranch holds its nodes as values, not as pointers: that saves a lookup in
// a large trie a cache miss.
type trieBranch[K comparable, E any, P item[K, E]] struct {
	size  int
	nodes [fanOut]trieNode[K, E, P]
}

func hashOf[K comparable](k K) uint64 { return maphash.Comparable(seed, k) }

func tagOf(h uint64) byte { return byte(h >> deepest) }

func (t *trie[K, E, P]) get(key K) (e E, ok bool) {
	if at := t.at(key); at != nil {
		return *at, true
	}
	return e, false
}

// at returns the entry of a key where it lies, nil if there is none. It must not
// be changed, and holds until the trie is.
func (t *trie[K, E, P]) at(key K) *E {
	n, h := &t.root, hashOf(key)
	for path := h; n.branch != nil; path >>= levelBits {
		n = &n.branch.nodes[path%fanOut]
	}
	if at := n.find(h, key); at >= 0 {
		return &n.entries[at]
	}
	return nil
}

// set puts e in the place of the entry that has its key.
func (t *trie[K, E, P]) set(o owner, e E) {
	if t.root.set(o, 0, hashOf(P(&e).key()), &e) {
		t.size++
	}
}

func (t *trie[K, E, P]) delete(o owner, key K) {
	// Nothing must be copied if the key isn't there.
	if t.at(key) != nil {
		t.root.delete(o, 0, hashOf(key), key)
		t.size--
	}
}

// all yields the entries in no order.
func (t *trie[K, E, P]) all() iter.Seq[E] {
	return func(yield func(E) bool) { t.root.each(func(e *E) bool { return yield(*e) }) }
}

func (n *trieNode[K, E, P]) each(yield func(*E) bool) bool {
	for i := range n.entries {
		if !yield(&n.entries[i]) {
			return false
		}
	}
	if n.branch != nil {
		for i := range n.branch.nodes {
			if !n.branch.nodes[i].each(yield) {
				return false
			}
		}
	}
	return true
}

// find returns where in a leaf the key is, -1 if it isn't.
func (n *trieNode[K, E, P]) find(h uint64, key K) int {
	tags := n.tags[:min(len(n.entries), fullLeaf)]
	for at := 0; at < len(tags); at++ {
		next := bytes.IndexByte(tags[at:], tagOf(h))
		if next < 0 {
			break
		}
		if at += next; P(&n.entries[at]).key() == key {
			return at
		}
	}
	// Where there are no bits left to branch by, leaves hold any number.
	for at := fullLeaf; at < len(n.entries); at++ {
		if P(&n.entries[at]).key() == key {
			return at
		}
	}
	return -1
}

// own makes sure that what the node leads to can be changed. The node itself
// must be one that can.
func (n *trieNode[K, E, P]) own(o owner) {
	if n.owner == o {
		return
	}
	n.owner = o
	n.entries = slices.Clone(n.entries)
	if n.branch != nil {
		b := *n.branch
		n.branch = &b
	}
}

// child returns the node below a branch for a hash of which so many bits are
// used up.
func (n *trieNode[K, E, P]) child(used uint, h uint64) *trieNode[K, E, P] {
	return &n.branch.nodes[h>>used%fanOut]
}

func (n *trieNode[K, E, P]) set(o owner, used uint, h uint64, e P) (added bool) {
	n.own(o)
	if n.branch != nil {
		if added = n.child(used, h).set(o, used+levelBits, h, e); added {
			n.branch.size++
		}
		return added
	}
	if at := n.find(h, e.key()); at >= 0 {
		n.entries[at] = *e
		return false
	}
	if len(n.entries) >= fullLeaf && used < deepest {
		n.split(o, used)
		return n.set(o, used, h, e)
	}
	n.add(h, e)
	return true
}

func (n *trieNode[K, E, P]) add(h uint64, e P) {
	if at := len(n.entries); at < fullLeaf {
		n.tags[at] = tagOf(h)
	}
	n.entries = append(n.entries, *e)
}

// split makes a branch of a leaf.
func (n *trieNode[K, E, P]) split(o owner, used uint) {
	entries := n.entries
	n.entries, n.branch = nil, &trieBranch[K, E, P]{size: len(entries)}
	for i := range entries {
		e := P(&entries[i])
		h := hashOf(e.key())
		c := n.child(used, h)
		c.owner = o
		c.add(h, e)
	}
}

// delete removes a key that is there.
func (n *trieNode[K, E, P]) delete(o owner, used uint, h uint64, key K) {
	n.own(o)
	if n.branch == nil {
		n.drop(n.find(h, key))
		return
	}
	n.child(used, h).delete(o, used+levelBits, h, key)
	if n.branch.size--; n.branch.size <= sparseBranch {
		n.merge()
	}
}

// drop removes an entry of a leaf; the last one takes its place.
func (n *trieNode[K, E, P]) drop(at int) {
	last := len(n.entries) - 1
	n.entries[at] = n.entries[last]
	if at < fullLeaf {
		n.tags[at] = tagOf(hashOf(P(&n.entries[at]).key()))
	}
	n.entries = slices.Delete(n.entries, last, last+1)
}

// merge makes a leaf of a branch: without this a trie that grew and shrank
// would keep its depth.
func (n *trieNode[K, E, P]) merge() {
	b := n.branch
	n.branch, n.entries = nil, make([]E, 0, b.size)
	for i := range b.nodes {
		b.nodes[i].each(func(e *E) bool {
			n.add(hashOf(P(e).key()), e)
			return true
		})
	}
}
