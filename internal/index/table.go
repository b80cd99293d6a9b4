package index

import (
	"hash/maphash"
	"iter"
	"math"

	"github.com/rackdns/rackdns/internal/registry"
)

// table finds the registered instances by their keys. A map of the keys
// themselves would hold a second copy of every node and ID, and pointers to it
// for the garbage collector to follow: here each instance is its own key, and
// there is no pointer to any, but for the few that were registered by HTTP.
type table struct {
	slabs *slabs
	// mask is which bits of a hash count: all, but in tests.
	mask uint64
	// byHash holds the first instance of each hash; the others follow it.
	byHash map[uint64]spot
	// byAPI holds those that were registered by HTTP, which say less of their
	// keys, and lie by themselves.
	byAPI map[string]*Instance
	size  int
}

func newTable(s *slabs) table {
	return table{slabs: s, mask: math.MaxUint64, byHash: map[uint64]spot{}, byAPI: map[string]*Instance{}}
}

func (t *table) hash(k registry.Key) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(k.Owner)
	_ = h.WriteByte('/')
	_, _ = h.WriteString(k.Name)
	return h.Sum64() & t.mask
}

func (i *Instance) hasKey(k registry.Key) bool { return i.ID() == k.Name && i.Node() == k.Owner }

// key is the key under which the instance is registered, unless it is by HTTP.
func (i *Instance) key() registry.Key {
	return registry.Key{Kind: registry.KindInstance, Owner: i.Node(), Name: i.ID()}
}

// get returns the instance of a key, nil if there is none.
func (t *table) get(k registry.Key) *Instance {
	if k.Owner == registry.NodeAPI {
		return t.byAPI[k.Name]
	}
	for at := t.byHash[t.hash(k)]; at != 0; {
		i := t.slabs.at(at)
		if i.hasKey(k) {
			return i
		}
		at = i.next
	}
	return nil
}

// set puts an instance in the place of the one that has its key.
func (t *table) set(k registry.Key, i *Instance) {
	t.delete(k)
	t.size++
	if k.Owner == registry.NodeAPI {
		t.byAPI[k.Name] = i
		return
	}
	h := t.hash(k)
	i.next = t.byHash[h]
	t.byHash[h] = i.spot
}

func (t *table) delete(k registry.Key) {
	if k.Owner == registry.NodeAPI {
		if _, ok := t.byAPI[k.Name]; ok {
			delete(t.byAPI, k.Name)
			t.size--
		}
		return
	}
	h := t.hash(k)
	first := t.byHash[h]
	for at := &first; *at != 0; {
		i := t.slabs.at(*at)
		if !i.hasKey(k) {
			at = &i.next
			continue
		}
		*at = i.next
		t.size--
		if first == 0 {
			delete(t.byHash, h)
		} else {
			t.byHash[h] = first
		}
		return
	}
}

// all yields every instance, with its key. Instances may be deleted meanwhile.
func (t *table) all() iter.Seq2[registry.Key, *Instance] {
	return func(yield func(registry.Key, *Instance) bool) {
		for _, first := range t.byHash {
			for at := first; at != 0; {
				i := t.slabs.at(at)
				at = i.next
				if !yield(i.key(), i) {
					return
				}
			}
		}
		for name, i := range t.byAPI {
			if !yield(registry.Key{Kind: registry.KindInstance, Owner: registry.NodeAPI, Name: name}, i) {
				return
			}
		}
	}
}
