package index

import (
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// taken is an entry that has been looked at, which is most of the work and
// changes nothing.
type taken struct {
	entry registry.Entry
	key   registry.Key
	// err says that the entry can't be used.
	err error
	// known says that the instance is there already, as it is.
	known    bool
	instance *Instance
	observed time.Time
}

// parallelFrom is the number of entries for which it pays to use a processor:
// not those of a change, but those of a list.
const parallelFrom = 64

// take applies entries in their order. A value that can't be read counts as
// absent: it must not keep alive what was there before it.
func (b *builder) take(entries []registry.Entry) {
	all := make([]taken, len(entries))
	look := func(a *arena, from, to int) {
		for n := from; n < to; n++ {
			all[n] = b.look(a, entries[n])
		}
	}
	if procs := min(len(b.arenas), len(entries)/parallelFrom); procs <= 1 || b.live {
		look(&b.arenas[0], 0, len(entries))
	} else {
		var wg sync.WaitGroup
		for p := range procs {
			wg.Go(func() { look(&b.arenas[p], p*len(entries)/procs, (p+1)*len(entries)/procs) })
		}
		wg.Wait()
	}
	for n := range all {
		b.apply(&all[n])
	}
}

// look only reads what the builder has, and takes from the arena what it needs.
func (b *builder) look(a *arena, e registry.Entry) taken {
	t := taken{entry: e}
	if t.key, t.err = b.layout.Parse(e.Key); t.err != nil || t.key.Kind != registry.KindInstance || e.Deleted() {
		return t
	}
	if !b.live && !b.reset {
		if old := b.instances.get(t.key); old != nil && old.revision == e.ModRevision {
			t.known = true
			return t
		}
	}
	r, err := a.decoder.Decode(t.key, e.Value)
	switch {
	case err != nil:
		t.err = err
		return t
	case t.key.Owner == registry.NodeAPI:
		// It doesn't say its key, so that it couldn't be moved.
		t.instance = newInstance(r, e.ModRevision)
	default:
		t.instance = a.instance().fill(r, e.ModRevision)
	}
	t.observed = r.Observed
	return t
}

func (b *builder) apply(t *taken) {
	if t.key.Kind == 0 {
		b.sumUp(t, b.invalid[t.entry.Key].revision)
		b.refuse(t.entry, t.err)
		return
	}
	b.revision = max(b.revision, t.entry.ModRevision)
	if t.key.Kind != registry.KindInstance {
		b.sumUp(t, b.held(t.entry.Key))
		b.takeRecord(t.key, t.entry)
		b.floorRecord(t)
		return
	}
	old := b.instances.get(t.key)
	if old != nil {
		b.sumUp(t, old.revision)
	} else {
		b.sumUp(t, b.invalid[t.entry.Key].revision)
	}
	if t.known {
		old.seen = b.listing
		b.floorInstance(t)
		return
	}
	if t.err != nil {
		b.refuse(t.entry, t.err)
	} else {
		delete(b.invalid, t.entry.Key)
	}
	if t.instance != nil {
		t.instance.seen = b.listing
		b.floorInstance(t)
		if b.live && !t.observed.IsZero() {
			b.observed = append(b.observed, t.observed)
		}
	}
	b.swap(t.key, old, t.instance, t.entry.ModRevision)
}

// held is the revision of a key that is no instance's, 0 if there is no such key.
func (b *builder) held(key string) int64 {
	if r := b.records[key]; r != nil {
		return r.revision
	}
	return b.invalid[key].revision
}

// sumUp notes in the digest what becomes of a key that was last changed at
// revision old. A list begins with an empty digest.
func (b *builder) sumUp(t *taken, old int64) {
	now := t.entry.ModRevision
	if t.entry.Deleted() {
		now = 0
	}
	if !b.live {
		old = 0
	}
	b.digest.Set(t.entry.Key, old, now)
}
