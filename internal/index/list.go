package index

import (
	"github.com/rackdns/rackdns/internal/registry"
)

// beginList announces a list of everything.
func (b *builder) beginList(reset bool) {
	b.beginSerial(reset)
	b.listing++
	b.live = false
	b.reset = b.reset || reset
	b.digest = registry.Digest{}
}

// endList removes what the list did not mention. It returns from which revision
// on changes are wanted, see serials.
func (b *builder) endList(revision int64) (from int64) {
	// Nodes first: which of them there are decides about the others.
	for k, r := range b.records {
		if r.seen != b.listing && !b.preserveRecord(k, r) {
			b.dropRecord(k, r, revision)
		}
	}
	kept := map[registry.Key]*Instance{}
	for k, i := range b.instances.each() {
		if i.seen != b.listing && !b.preserveUnseen(k, i, kept) {
			b.swap(k, i, nil, revision)
		}
	}
	b.revision = revision
	b.preserve(kept, "the registry has another history than before: was it restored from a copy, or made anew?")
	b.weighLosses()
	for k, r := range b.invalid {
		if r.seen != b.listing {
			b.accept(k)
		}
	}
	b.reset, b.live = false, true
	b.revision = revision
	from = b.endSerial()
	if len(kept) > 0 {
		// They are told in another order.
		b.serial = max(b.serial, 1)
	}
	return from
}
