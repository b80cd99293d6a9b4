package index

import (
	"iter"

	"github.com/rackdns/rackdns/internal/registry"
)

// instances are those that are registered, by their node and the last part of
// their keys.
type instances map[string]map[string]*Instance

func (all instances) get(k registry.Key) *Instance { return all[k.Owner][k.Name] }

func (all instances) set(k registry.Key, i *Instance) {
	if all[k.Owner] == nil {
		all[k.Owner] = map[string]*Instance{}
	}
	name := k.Name
	if name == i.id {
		// It is there already; the key's is a piece of a longer string.
		name = i.id
	}
	all[k.Owner][name] = i
}

func (all instances) delete(k registry.Key) {
	delete(all[k.Owner], k.Name)
	if len(all[k.Owner]) == 0 {
		delete(all, k.Owner)
	}
}

// each yields every instance, with its key. Instances may be deleted meanwhile.
func (all instances) each() iter.Seq2[registry.Key, *Instance] {
	return func(yield func(registry.Key, *Instance) bool) {
		for node, of := range all {
			for name, i := range of {
				if !yield(registry.Key{Kind: registry.KindInstance, Owner: node, Name: name}, i) {
					return
				}
			}
		}
	}
}
