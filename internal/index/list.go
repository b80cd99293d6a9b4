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
	for k, r := range b.invalid {
		if r.seen != b.listing {
			delete(b.invalid, k)
		}
	}
	b.reset, b.live = false, true
	b.revision = revision
	return b.endSerial()
}
