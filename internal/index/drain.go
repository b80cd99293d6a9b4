package index

import (
	"maps"

	"github.com/rackdns/rackdns/internal/registry"
)

// drain takes note of an operator's word on a node, or that it was taken back.
// The node's instances are left out by the registry's word alone, whatever its
// agent does, and those that are preserved aren't any more.
func (b *builder) drain(d *registry.Drained, in bool) {
	b.touch(d.Node + Below(LabelNode))
	drained := maps.Clone(b.drained)
	if drained == nil {
		drained = map[string]*registry.Drained{}
	}
	if delete(drained, d.Node); in {
		drained[d.Node] = d
	}
	b.drained = drained
	if in {
		delete(b.loss.back, d.Node)
		for k := range b.loss.lost {
			if k.Owner == d.Node {
				delete(b.loss.lost, k)
			}
		}
		b.dropPreserved(d.Node, nil)
	}
	for name, i := range maps.Clone(b.instances[d.Node]) {
		if i.drained != in {
			b.swap(registry.Key{Kind: registry.KindInstance, Owner: d.Node, Name: name}, i, i.clone(), b.revision)
		}
	}
}
