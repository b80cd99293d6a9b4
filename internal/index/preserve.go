package index

import (
	"math"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// DefaultPreserve is how long instances stay at most that are gone for no reason
// of their own.
const DefaultPreserve = 10 * time.Minute

// Instances that are gone by lease are taken for the registry's trouble if they
// are so many at once.
const (
	lossWindow = 30 * time.Second
	lossLeast  = 10
)

// relistGrace is how long a node may take, once its key is back, to say that it
// has written everything. Agents before this version never say so.
const relistGrace = 30 * time.Second

// lastPriority is that of instances that are told last.
const lastPriority = math.MaxUint16

// preservation is what is known of instances that are gone for no reason of
// their own: their registry has another history than the one read so far, or the
// leases of most of the rack's nodes ended at once. They stay, and are told
// last, until their node is back and says what runs there.
//
// etcd ends a lease in one transaction: its node's key goes at the same revision
// as its instances. What an agent removes, or an operator drains, goes at
// another one, and is believed.
type preservation struct {
	limit time.Duration
	now   func() time.Time
	// lost are those that are gone by lease, for as long as others may follow.
	lost map[registry.Key]lostInstance
	// fresh says that some were lost since that was last weighed.
	fresh bool
	// count is how many instances are preserved now, hidden ones too; live is how
	// many are registered and not hidden.
	count, live int
	// keptRecords are the keys of preserved services and resources, with their
	// ends.
	keptRecords map[string]time.Time
	// back is when the key of a node was put that hasn't listed everything yet.
	back map[string]time.Time
	// gone is when the key of a node went whose facts are still needed.
	gone map[string]time.Time
	// told is what the log has been told of, nil if that is over.
	told *preserved
}

// note counts an instance that came or went.
func (p *preservation) note(i *Instance, n int) {
	switch {
	case i.isPreserved():
		p.count += n
	case !i.hidden:
		p.live += n
	}
}

type lostInstance struct {
	instance *Instance
	at       time.Time
}

// preserved counts what became of those that were preserved.
type preserved struct{ began, dropped int }

func newPreservation(limit time.Duration) preservation {
	switch {
	case limit == 0:
		limit = DefaultPreserve
	case limit < 0:
		limit = 0
	}
	return preservation{
		limit: limit, now: time.Now,
		lost: map[registry.Key]lostInstance{}, keptRecords: map[string]time.Time{},
		back: map[string]time.Time{}, gone: map[string]time.Time{},
	}
}

// preservedCopy is the instance as it is told while it is preserved. To the
// registry it doesn't exist, so it has no revision.
func (i *Instance) preservedCopy(until time.Time) *Instance {
	c := i.clone()
	c.revision, c.priority, c.preservedUntil, c.seen = 0, lastPriority, until.Unix(), 0
	return c
}

// Preserved returns until when the instance is told at most, though the registry
// doesn't have it; the zero time if it does.
func (i *Instance) Preserved() time.Time {
	if i.preservedUntil == 0 {
		return time.Time{}
	}
	return time.Unix(i.preservedUntil, 0)
}

func (i *Instance) isPreserved() bool { return i.preservedUntil != 0 }

// endedNodes returns the nodes whose key was deleted, with the revisions.
func (b *builder) endedNodes(entries []decodedEntry) map[string]int64 {
	var ended map[string]int64
	for n := range entries {
		if d := &entries[n]; d.key.Kind == registry.KindNode && d.entry.Deleted() {
			if ended == nil {
				ended = map[string]int64{}
			}
			ended[d.key.Owner] = d.entry.ModRevision
		}
	}
	return ended
}

// noteLoss remembers an instance that has gone by lease.
func (b *builder) noteLoss(k registry.Key, i *Instance) {
	if b.loss.limit > 0 && i != nil && b.drained[k.Owner] == nil && !i.isPreserved() && k.Owner != registry.NodeAPI {
		b.loss.lost[k] = lostInstance{i, b.loss.now()}
		b.loss.fresh = true
	}
}

// weighLosses brings back what was lost, if that is too much to be true.
func (b *builder) weighLosses() {
	if !b.loss.fresh {
		return
	}
	b.loss.fresh = false
	losses := 0
	for k, l := range b.loss.lost {
		if b.loss.now().Sub(l.at) > lossWindow || b.instances.get(k) != nil {
			delete(b.loss.lost, k)
			continue
		}
		if !l.instance.hidden {
			losses++
		}
	}
	if losses < lossLeast || losses <= b.loss.live {
		return
	}
	lost := make(map[registry.Key]*Instance, len(b.loss.lost))
	for k, l := range b.loss.lost {
		lost[k] = l.instance
	}
	clear(b.loss.lost)
	b.preserve(lost, "the leases of most of the rack's nodes ended at once: is etcd, or the network to it, in trouble?")
}

// preserve puts instances in the place of what the registry has of them, which
// is nothing.
func (b *builder) preserve(all map[registry.Key]*Instance, why string) {
	until := b.loss.now().Add(b.loss.limit)
	nodes := map[string]bool{}
	for k, i := range all {
		b.swap(k, b.instances.get(k), i.preservedCopy(until), b.revision)
		nodes[k.Owner] = true
	}
	if len(all) == 0 {
		return
	}
	if b.loss.told == nil {
		b.loss.told = &preserved{}
	}
	b.loss.told.began += len(all)
	b.log.Warn("preserving instances that are gone from the registry: they are told last, until their nodes are back",
		"rack", b.layout.Rack(), "instances", len(all), "nodes", len(nodes), "why", why, "until", until.Format(time.RFC3339))
}

// preserveUnseen decides, at the end of a list, about an instance that it
// doesn't mention; true is that it stays for now.
func (b *builder) preserveUnseen(k registry.Key, i *Instance, kept map[registry.Key]*Instance) bool {
	node := b.nodes[k.Owner]
	switch {
	case i.isPreserved():
		// A list is no news of it. Its node's key is, see nodeBack.
		return true
	case b.loss.limit <= 0, b.drained[k.Owner] != nil:
		return false
	case b.reset:
		if node != nil && (node.Listed || node.Draining) {
			return false
		}
		kept[k] = i
		return true
	case node == nil:
		b.noteLoss(k, i)
	}
	return false
}

// preserveRecord decides the same about a record.
func (b *builder) preserveRecord(key string, r *record) bool {
	if _, ok := b.loss.keptRecords[key]; ok {
		return true
	}
	if !b.reset || b.loss.limit <= 0 || r.kind == registry.KindNode {
		return false
	}
	r.revision = 0
	b.loss.keptRecords[key] = b.loss.now().Add(b.loss.limit)
	return true
}

// nodeBack takes note of a node's key that was put.
func (b *builder) nodeBack(n *registry.Node) {
	delete(b.loss.gone, n.Node)
	switch {
	case n.Listed, n.Draining:
		delete(b.loss.back, n.Node)
		b.dropPreserved(n.Node, nil)
	case b.loss.count > 0:
		b.loss.back[n.Node] = b.loss.now()
	}
}

// dropPreserved ends the preservation of a node's instances, or of those that
// over says.
func (b *builder) dropPreserved(node string, over func(*Instance) bool) (dropped bool) {
	if b.loss.count == 0 {
		return false
	}
	for name, i := range b.instances[node] {
		if i.isPreserved() && (over == nil || over(i)) {
			b.swap(registry.Key{Kind: registry.KindInstance, Owner: node, Name: name}, i, nil, b.revision)
			dropped = true
			if b.loss.told != nil {
				b.loss.told.dropped++
			}
		}
	}
	return dropped
}

// tick ends what is over by time. It reports whether anything that is shown has
// changed.
func (b *builder) tick(now time.Time) (changed bool) {
	before := b.local
	b.local = max(b.serial, b.revision, b.local) + 1
	defer func() {
		if !changed {
			b.local = before
		}
	}()
	for k, l := range b.loss.lost {
		if now.Sub(l.at) > lossWindow {
			delete(b.loss.lost, k)
		}
	}
	for node, since := range b.loss.back {
		if now.Sub(since) > relistGrace {
			delete(b.loss.back, node)
			changed = b.dropPreserved(node, nil) || changed
		}
	}
	if b.loss.count > 0 {
		over := func(i *Instance) bool { return now.Unix() >= i.preservedUntil }
		for node := range b.instances {
			changed = b.dropPreserved(node, over) || changed
		}
	}
	for key, until := range b.loss.keptRecords {
		if !now.Before(until) {
			delete(b.loss.keptRecords, key)
			if r := b.records[key]; r != nil {
				b.dropRecord(key, r, b.revision)
				changed = true
			}
		}
	}
	for node, since := range b.loss.gone {
		if now.Sub(since) > lossWindow && len(b.instances[node]) == 0 {
			delete(b.loss.gone, node)
			b.rules = b.rules.with(node, nil)
			changed = true
		}
	}
	b.noteOver()
	return changed
}

// noteOver logs that nothing is preserved any more.
func (b *builder) noteOver() {
	if b.loss.told == nil || b.loss.count > 0 {
		return
	}
	b.log.Info("no instance is preserved any more", "rack", b.layout.Rack(),
		"returned", b.loss.told.began-b.loss.told.dropped, "given_up", b.loss.told.dropped)
	b.loss.told = nil
	clear(b.loss.back)
}
