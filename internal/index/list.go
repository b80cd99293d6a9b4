package index

import (
	"github.com/rackdns/rackdns/internal/registry"
)

// beginList announces a list of everything.
func (b *builder) beginList(reset bool) {
	if b.live {
		// Not if the last list was broken off: it has moved the serial.
		b.serialBefore = b.serial
	}
	b.listing++
	b.live = false
	b.reset = b.reset || reset
	b.pastShown = 0
	if b.reset {
		// Revisions of another history can be anything.
		b.serial, b.serialBefore, b.revision = 0, 0, 0
	}
}

// past takes note of a change before the list and reports whether it shows.
func (b *builder) past(was, is registry.Entry) bool {
	key, err := b.layout.Parse(is.Key)
	if err != nil || !b.shows(key, was, is) {
		return false
	}
	b.pastShown = max(b.pastShown, is.ModRevision)
	return true
}

// shows is, for two entries, what swap and takeRecord decide for two states.
func (b *builder) shows(key registry.Key, was, is registry.Entry) bool {
	if key.Kind != registry.KindInstance {
		return key.Kind != registry.KindNode
	}
	instance := func(e registry.Entry) *Instance {
		if e.Deleted() {
			return nil
		}
		r, err := registry.DecodeInstance(key, e.Value)
		if err != nil {
			return nil
		}
		return newInstance(r, e.Value, e.ModRevision)
	}
	old, now := instance(was), instance(is)
	if old == nil || now == nil {
		return old != now
	}
	return !old.looksLike(now)
}

// endList removes what the list did not mention, and settles the serial, of
// which the list alone knows too little: it has no deletions, and its last
// changes may be some that don't show. All that showed from since on is in
// pastShown, so that two servers that started at different times agree.
func (b *builder) endList(revision, since int64) {
	for k, i := range b.instances.each() {
		if i.seen != b.listing {
			b.swap(k, i, nil, revision)
		}
	}
	for k, r := range b.records {
		if r.seen != b.listing {
			b.dropRecord(k, r, revision)
		}
	}
	switch {
	case b.pastShown > 0:
		b.serial = max(b.pastShown, b.serialBefore)
	case since <= revision:
		b.serial = max(b.lastBefore(since), b.serialBefore)
	}
	b.reset, b.live = false, true
	b.revision = revision
}

// lastBefore returns the revision of the last change of an entry, of those
// that last changed before since.
func (b *builder) lastBefore(since int64) int64 {
	last := int64(0)
	for _, i := range b.instances.each() {
		if i.revision < since {
			last = max(last, i.revision)
		}
	}
	for _, r := range b.records {
		if r.kind != registry.KindNode && r.revision < since {
			last = max(last, r.revision)
		}
	}
	return last
}
