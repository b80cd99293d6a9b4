package index

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"github.com/rackdns/rackdns/internal/registry"
)

// soundSlabs says what is wrong with the books that are kept of slabs.
func soundSlabs(b *builder) error {
	living := map[uint32]int{}
	for k, i := range b.instances.all() {
		if i.spot == 0 {
			if k.Owner != registry.NodeAPI {
				return fmt.Errorf("%v lies by itself", k)
			}
			continue
		}
		if s := b.slabs.get(i.spot.slab()); s == nil {
			return fmt.Errorf("%v lies in slab %d, which was given up", k, i.spot.slab())
		}
		if b.slabs.at(i.spot) != i {
			return fmt.Errorf("%v doesn't lie where it says", k)
		}
		living[i.spot.slab()]++
	}
	gone := 0
	for n, s := range *b.slabs.all.Load() {
		id := uint32(n)
		if free := slices.Contains(b.slabs.free, id); free == (s != nil) && n > 0 {
			return fmt.Errorf("slab %d is free: %t, in use: %t", id, free, s != nil)
		}
		if s == nil {
			continue
		}
		if s.used-s.gone != living[id] {
			return fmt.Errorf("%d of %d in slab %d are gone, but %d live", s.gone, s.used, id, living[id])
		}
		if s.full() && living[id] == 0 {
			return fmt.Errorf("slab %d is of no use", id)
		}
		// An arena looks at one that is full when it leaves it.
		left := !slices.ContainsFunc(b.arenas, func(a arena) bool { return a.slab == s })
		if thin := b.slabs.thin[id] != nil; thin && 2*s.gone < s.used || !thin && left && 2*s.gone >= s.used {
			return fmt.Errorf("slab %d: %d of %d are gone, thin: %t", id, s.gone, s.used, thin)
		}
		gone += s.gone
	}
	for id := range b.slabs.thin {
		if b.slabs.get(id) == nil {
			return fmt.Errorf("slab %d is kept, to be given up", id)
		}
	}
	if gone != b.slabs.gone {
		return fmt.Errorf("%d are gone, counted as %d", gone, b.slabs.gone)
	}
	return nil
}

// TestSlabsArePages checks what the size of a slab was chosen for.
func TestSlabsArePages(t *testing.T) {
	const page = 8 << 10
	if size := slabSize * unsafe.Sizeof(Instance{}); size%page != 0 {
		t.Errorf("a slab of %d instances has %d bytes, which are no whole pages of %d", slabSize, size, page)
	}
}

// TestAskersOfOneAge looks at two instances at one address that say that they
// started at once. Who asks from there must not depend on which of them was the
// last to be written, or moved.
func TestAskersOfOneAge(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "node-0"}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		h := (*handler)(x)
		h.BeginList(1, false)
		h.EndList()
		for n, i := range order {
			// Those of one service have one address.
			h.Update([]registry.Entry{benchEntry(t, 0, i, int64(n+3), 47000)})
		}
		asker := x.Snapshot().Asker(netip.MustParseAddr("172.17.0.0"))
		if i := asker.Instance(); i == nil || i.ID() != "000000000000" {
			t.Errorf("written in the order %v: it is %v that asks", order, i)
		}
	}
}

// TestListLeavesNoWaste lists a rack of which next to nothing is left. There may
// be no change for a long time after that.
func TestListLeavesNoWaste(t *testing.T) {
	const n, of = 16 * slabSize, 10
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := (*handler)(x)
	var all, few []registry.Entry
	for i := range n {
		e := benchEntry(t, i/3, i%3, 1, 47000)
		if all = append(all, e); i%of == 0 {
			few = append(few, e)
		}
	}
	h.BeginList(1, false)
	h.List(all)
	h.EndList()
	h.BeginList(2, false)
	h.List(few)
	h.EndList()
	if err := soundSlabs(x.builder); err != nil {
		t.Error(err)
	}
	if room := x.builder.slabs.room(); x.builder.instances.size != len(few) || room > 2*len(few)+2*slabSize {
		t.Errorf("room for %d instances, there are %d, want %d", room, x.builder.instances.size, len(few))
	}
}

// TestSlabsAreGivenUp changes a rack over and over. Whichever instances it is
// that change, those that are gone must not hold much more memory than those
// that are there.
func TestSlabsAreGivenUp(t *testing.T) {
	const n = 2000
	for _, tt := range []struct {
		name string
		next func(change int) int
	}{
		{"in turn", func(change int) int { return change % n }},
		{"at random", func(int) int { return rand.N(n) }},
		{"the same few", func(change int) int { return change % 7 * 251 }},
		{"all but some", func(change int) int { return change%n | 3 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			h := (*handler)(x)
			var all []registry.Entry
			for i := range n {
				all = append(all, benchEntry(t, i/3, i%3, 1, 47000))
			}
			h.BeginList(1, false)
			h.List(all)
			h.EndList()
			worst := 0
			for change := range 4 * n {
				e := all[tt.next(change)]
				e.ModRevision = int64(change + 3)
				h.Update([]registry.Entry{e})
				worst = max(worst, x.builder.slabs.room())
			}
			if err := soundSlabs(x.builder); err != nil {
				t.Error(err)
			}
			if most := 2*n + 2*slabSize; worst > most {
				t.Errorf("room for %d instances, want at most %d for %d", worst, most, n)
			}
			t.Logf("room for %d instances at most, of %d", worst, n)
			if s := x.Snapshot(); s.Serial() != 1 || s.Revision() != 4*n+2 {
				t.Errorf("serial %d, revision %d: nothing that DNS shows has changed", s.Serial(), s.Revision())
			}
		})
	}
}
