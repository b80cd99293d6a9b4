package index

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// soundSlabs says what is wrong with the books that are kept of slabs.
func soundSlabs(b *builder) error {
	living := map[uint32]int{}
	for k, i := range b.instances.all() {
		if i.slab == 0 {
			if k.Owner != registry.NodeAPI {
				return fmt.Errorf("%v lies by itself", k)
			}
			continue
		}
		s := b.slabs.all[i.slab]
		if s == nil {
			return fmt.Errorf("%v lies in slab %d, which was given up", k, i.slab)
		}
		if !slices.ContainsFunc(s.items, func(o Instance) bool { return o.slab == i.slab && o.ID() == i.ID() && o.Node() == i.Node() }) {
			return fmt.Errorf("%v doesn't lie in its slab", k)
		}
		living[i.slab]++
	}
	gone := 0
	for id, s := range b.slabs.all {
		if len(s.items)-s.gone != living[id] {
			return fmt.Errorf("%d of %d in slab %d are gone, but %d live", s.gone, len(s.items), id, living[id])
		}
		if s.full() && living[id] == 0 {
			return fmt.Errorf("slab %d is of no use", id)
		}
		if thin := b.slabs.thin[id] != nil; thin && 2*s.gone < len(s.items) {
			return fmt.Errorf("slab %d is not thin: %d of %d are gone", id, s.gone, len(s.items))
		}
		gone += s.gone
	}
	for id := range b.slabs.thin {
		if b.slabs.all[id] == nil {
			return fmt.Errorf("slab %d is kept, to be given up", id)
		}
	}
	if gone != b.slabs.gone {
		return fmt.Errorf("%d are gone, counted as %d", gone, b.slabs.gone)
	}
	return nil
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
			h.EndList(2)
			worst := 0
			for change := range 4 * n {
				e := all[tt.next(change)]
				e.ModRevision = int64(change + 3)
				h.Update([]registry.Entry{e})
				worst = max(worst, len(x.builder.slabs.all)*slabSize)
			}
			if err := soundSlabs(x.builder); err != nil {
				t.Error(err)
			}
			if most := 2*n + 4*slabSize; worst > most {
				t.Errorf("room for %d instances, want at most %d for %d", worst, most, n)
			}
			t.Logf("room for %d instances at most, of %d", worst, n)
			if s := x.Snapshot(); s.Serial() != 1 || s.Revision() != 4*n+2 {
				t.Errorf("serial %d, revision %d: nothing that DNS shows has changed", s.Serial(), s.Revision())
			}
		})
	}
}
