package index

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rackdns/rackdns/internal/registry"
)

// slabSize is how many instances lie together: 40 KB, which are whole pages of
// the allocator, so that nothing is lost.
const (
	slabBits = 8
	slabSize = 1 << slabBits
)

// spot says where an instance lies: in which slab, and where therein. It is 0
// for one that lies by itself.
type spot uint32

func (p spot) slab() uint32 { return uint32(p >> slabBits) }

// slab is a row of instances in one piece of memory. The garbage collector has
// to find every object that there is, over and over, and that is much of its
// work: a row of instances it finds as one (see BenchmarkCollection).
//
// The price is that the last one to go frees the memory of all. Slabs half of
// whose instances are gone are therefore given up: see [builder.compact].
type slab struct {
	id uint32
	// items never changes; so many of them were handed out, by an arena alone,
	// and so many of those are gone.
	items      []Instance
	used, gone int
}

func (s *slab) full() bool { return s.used == len(s.items) }

// slabs are those with instances in use, or with room for more. Several arenas
// may take from them at once. While they do, nothing is released.
type slabs struct {
	size int
	// all is by ID, of which the first is 1. What is in use can be read without
	// the lock.
	all atomic.Pointer[[]*slab]

	mu sync.Mutex
	// free are the IDs that aren't in use.
	free []uint32
	// thin are those half of which is gone. There are gone instances in all.
	thin map[uint32]*slab
	gone int
}

func newSlabs(size int) *slabs {
	s := &slabs{size: size, thin: map[uint32]*slab{}}
	s.all.Store(&[]*slab{nil})
	return s
}

func (s *slabs) get(id uint32) *slab { return (*s.all.Load())[id] }

// arena is where one goroutine takes instances from, and what it decodes them
// with.
type arena struct {
	slabs   *slabs
	slab    *slab
	decoder registry.InstanceDecoder
}

// instance returns an instance that is empty but for its spot.
func (a *arena) instance() *Instance {
	if a.slab == nil || a.slab.full() {
		a.slab = a.slabs.open(a.slab)
	}
	n := a.slab.used
	a.slab.used++
	i := &a.slab.items[n]
	i.spot = spot(a.slab.id<<slabBits) | spot(n)
	return i
}

// open returns an empty slab in the place of one that is full, or nil.
func (s *slabs) open(full *slab) *slab {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full != nil && s.get(full.id) == full {
		s.look(full)
	}
	n := &slab{items: make([]Instance, s.size)}
	all := *s.all.Load()
	if last := len(s.free) - 1; last >= 0 {
		n.id = s.free[last]
		s.free = s.free[:last]
		all[n.id] = n
		return n
	}
	n.id = uint32(len(all))
	all = append(all, n)
	s.all.Store(&all)
	return n
}

// at returns the instance that lies there and is in use.
func (s *slabs) at(p spot) *Instance { return &s.get(p.slab()).items[p%slabSize] }

// release takes note that nobody needs i any more but those who have an older
// snapshot.
func (s *slabs) release(i *Instance) {
	if i.spot == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.get(i.spot.slab())
	of.gone++
	s.gone++
	s.look(of)
}

// look decides whether a slab is worth its memory.
func (s *slabs) look(of *slab) {
	switch {
	case !of.full():
	case of.gone == of.used:
		s.gone -= of.gone
		(*s.all.Load())[of.id] = nil
		s.free = append(s.free, of.id)
		delete(s.thin, of.id)
	case 2*of.gone >= of.used:
		s.thin[of.id] = of
	}
}

// atOnce is how many slabs are given up with one change, so that it isn't held
// up for long.
const atOnce = 8

// wasteful returns the slabs that are to be given up now, at most so many: none
// as long as a quarter of the memory at most is wasted, since many a slab is
// about to be freed anyhow.
func (s *slabs) wasteful(most int) []*slab {
	s.mu.Lock()
	defer s.mu.Unlock()
	if 4*s.gone <= s.room() {
		return nil
	}
	thin := slices.Collect(maps.Values(s.thin))
	return thin[:min(len(thin), most)]
}

// room is for how many instances there is memory.
func (s *slabs) room() int { return (len(*s.all.Load()) - 1 - len(s.free)) * s.size }

// compact moves what is left in slabs that are half empty to others, so that
// instances don't take much more than twice the memory that they need. As many
// as are moved have gone before.
func (b *builder) compact(most int) {
	for _, s := range b.slabs.wasteful(most) {
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
	at := c.spot
	*c = *i
	c.spot = at
	b.add(c)
	b.remove(i)
	b.instances.set(k, c)
	b.slabs.release(i)
}
