package index

import (
	"maps"
	"slices"
	"sync"

	"github.com/rackdns/rackdns/internal/registry"
)

// slabSize is how many instances lie together: 20 KB, which the allocator hands
// out without loss.
const slabSize = 128

// slab is a row of instances in one piece of memory. The garbage collector has
// to find every object that there is, over and over, and finding is most of its
// work: a row of instances it finds as one.
//
// The price is that the last one to go frees the memory of all. Slabs half of
// whose instances are gone are therefore given up: see [builder.compact].
type slab struct {
	id uint32
	// items are those that were handed out.
	items []Instance
	gone  int
}

func (s *slab) full() bool { return len(s.items) == cap(s.items) }

// slabs are those with instances in use.
type slabs struct {
	size int

	mu   sync.Mutex
	all  map[uint32]*slab
	last uint32
	// thin are those half of which is gone. There are gone instances in all.
	thin map[uint32]*slab
	gone int
}

func newSlabs(size int) *slabs {
	return &slabs{size: size, all: map[uint32]*slab{}, thin: map[uint32]*slab{}}
}

// arena is where one goroutine takes instances from.
type arena struct {
	slabs *slabs
	slab  *slab
}

// instance returns an instance that is empty but for its place.
func (a *arena) instance() *Instance {
	if a.slab == nil || a.slab.full() {
		a.slab = a.slabs.open(a.slab)
	}
	s := a.slab
	n := len(s.items)
	s.items = s.items[:n+1]
	s.items[n].slab = s.id
	return &s.items[n]
}

// open returns an empty slab in the place of one that is full, or nil.
func (s *slabs) open(full *slab) *slab {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full != nil && s.all[full.id] != nil {
		s.look(full)
	}
	// Four billion slabs from now an ID might be in use still.
	for s.last++; s.last == 0 || s.all[s.last] != nil; {
		s.last++
	}
	n := &slab{id: s.last, items: make([]Instance, 0, s.size)}
	s.all[n.id] = n
	return n
}

// free takes note that nobody needs i any more but those who have an older
// snapshot.
func (s *slabs) free(i *Instance) {
	if i.slab == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.all[i.slab]
	of.gone++
	s.gone++
	s.look(of)
}

// look decides whether a slab is worth its memory.
func (s *slabs) look(of *slab) {
	switch {
	case !of.full():
	case of.gone == len(of.items):
		s.gone -= of.gone
		delete(s.all, of.id)
		delete(s.thin, of.id)
	case 2*of.gone >= len(of.items):
		s.thin[of.id] = of
	}
}

// atOnce is how many slabs are given up with one change, so that it isn't held
// up for long.
const atOnce = 16

// wasteful returns the slabs that are to be given up now: none as long as a
// quarter of the memory at most is wasted, since many a slab is about to be
// freed anyhow.
func (s *slabs) wasteful() []*slab {
	s.mu.Lock()
	defer s.mu.Unlock()
	if 4*s.gone <= len(s.all)*s.size {
		return nil
	}
	thin := slices.Collect(maps.Values(s.thin))
	return thin[:min(len(thin), atOnce)]
}

// compact moves what is left in slabs that are half empty to others, so that
// instances never take much more than twice the memory that they need. As many
// as are moved have gone before.
func (b *builder) compact() {
	for _, s := range b.slabs.wasteful() {
		for n := range s.items {
			i := &s.items[n]
			if k := i.key(); b.instances.get(k) == i {
				b.move(k, i)
			}
		}
	}
}

// move puts a copy in the place of an instance.
func (b *builder) move(k registry.Key, i *Instance) {
	c := b.arenas[0].instance()
	place := c.slab
	*c = *i
	c.slab = place
	b.add(c)
	b.remove(i)
	b.instances.set(k, c)
	b.slabs.free(i)
}
