package index

import (
	"runtime"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// decodedEntry is an entry that has been decoded, which is most of the work and
// changes nothing.
type decodedEntry struct {
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

// applyBatch applies entries in their order. A value that can't be read counts
// as absent: it must not keep alive what was there before it.
func (b *builder) applyBatch(entries []registry.Entry) {
	all := make([]decodedEntry, len(entries))
	decode := func(from, to int) {
		for n := from; n < to; n++ {
			all[n] = b.decode(entries[n])
		}
	}
	if procs := min(runtime.GOMAXPROCS(0), len(entries)/parallelFrom); procs <= 1 || b.live {
		decode(0, len(entries))
	} else {
		var wg sync.WaitGroup
		for p := range procs {
			wg.Go(func() { decode(p*len(entries)/procs, (p+1)*len(entries)/procs) })
		}
		wg.Wait()
	}
	ended := b.endedNodes(all)
	for n := range all {
		d := &all[n]
		if b.live && d.key.Kind == registry.KindInstance && d.entry.Deleted() && ended[d.key.Owner] == d.entry.ModRevision {
			b.noteLoss(d.key, b.instances.get(d.key))
		}
		b.apply(d)
	}
	if b.live {
		b.weighLosses()
	}
}

// decode only reads what the builder has.
func (b *builder) decode(e registry.Entry) decodedEntry {
	d := decodedEntry{entry: e}
	if d.key, d.err = b.layout.Parse(e.Key); d.err != nil || d.key.Kind != registry.KindInstance || e.Deleted() {
		return d
	}
	if !b.live && !b.reset {
		if old := b.instances.get(d.key); old != nil && old.revision == e.ModRevision {
			d.known = true
			return d
		}
	}
	r, err := registry.DecodeInstance(d.key, e.Value)
	if err != nil {
		d.err = err
		return d
	}
	d.observed = r.Observed
	d.instance = newInstance(r, e.Value, e.ModRevision)
	return d
}

func (b *builder) apply(d *decodedEntry) {
	if d.key.Kind == 0 {
		b.sumUp(d, b.invalid[d.entry.Key].revision)
		b.refuse(d.entry, d.err)
		return
	}
	b.revision = max(b.revision, d.entry.ModRevision)
	if d.key.Kind != registry.KindInstance {
		b.sumUp(d, b.held(d.entry.Key))
		b.takeRecord(d.key, d.entry)
		b.floorRecord(d)
		return
	}
	old := b.instances.get(d.key)
	if old != nil {
		b.sumUp(d, old.revision)
	} else {
		b.sumUp(d, b.invalid[d.entry.Key].revision)
	}
	if d.known {
		old.seen = b.listing
		b.floorInstance(d, old)
		return
	}
	if d.err != nil {
		b.refuse(d.entry, d.err)
	} else {
		b.accept(d.entry.Key)
	}
	if d.instance != nil {
		d.instance.seen = b.listing
		b.floorInstance(d, d.instance)
		if b.live && !d.observed.IsZero() {
			b.observed = append(b.observed, d.observed)
		}
	}
	b.swap(d.key, old, d.instance, d.entry.ModRevision)
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
func (b *builder) sumUp(d *decodedEntry, old int64) {
	now := d.entry.ModRevision
	if d.entry.Deleted() {
		now = 0
	}
	if !b.live {
		old = 0
	}
	b.digest.Set(d.entry.Key, old, now)
}
