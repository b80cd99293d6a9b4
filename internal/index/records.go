package index

import (
	"github.com/rackdns/rackdns/internal/registry"
)

// takeRecord applies an entry that is no instance. There are few of these, so
// they are simply replaced.
func (b *builder) takeRecord(key registry.Key, e registry.Entry) {
	delete(b.loss.keptRecords, e.Key)
	old := b.records[e.Key]
	if old != nil && old.revision == e.ModRevision && !b.reset {
		old.seen = b.listing
		return
	}
	is := &record{kind: key.Kind, revision: e.ModRevision, seen: b.listing, raw: e.Value}
	var err error
	if !e.Deleted() {
		switch key.Kind {
		case registry.KindNode:
			is.value, err = registry.DecodeNode(key, e.Value)
		case registry.KindService:
			is.value, err = registry.DecodeService(key, e.Value)
		case registry.KindResource:
			is.value, err = registry.DecodeResource(key, e.Value)
		case registry.KindDrained:
			is.value, err = registry.DecodeDrained(key, e.Value)
		case registry.KindSeen:
			var s *registry.Seen
			if s, err = registry.DecodeSeen(key, e.Value); err == nil {
				is.value = newSeenEntry(s)
			}
		}
	}
	if err != nil {
		b.refuse(e, err)
	} else {
		b.accept(e.Key)
	}
	if old != nil {
		b.dropRecord(e.Key, old, e.ModRevision)
	}
	if err == nil && !e.Deleted() {
		b.records[e.Key] = is
		b.counts[key.Kind]++
		b.applyRecord(is.value, true)
		var was any
		if old != nil {
			was = old.value
		}
		if hasRecords(key.Kind) || key.Kind == registry.KindNode && showsChange(was, is.value) {
			b.shows(e.ModRevision)
		}
	}
}

func (b *builder) dropRecord(key string, r *record, revision int64) {
	delete(b.records, key)
	b.counts[r.kind]--
	b.applyRecord(r.value, false)
	b.shown(r.kind, revision)
}

// hasRecords reports whether DNS has records of what keys of a kind say. Nodes
// have no names, and what was seen has nothing else.
func hasRecords(kind registry.Kind) bool {
	return kind != registry.KindNode && kind != registry.KindSeen
}

// shown notes that an entry is gone, which DNS shows. A node that is gone changes
// nothing by itself: its facts stay as long as they are needed.
func (b *builder) shown(kind registry.Kind, revision int64) {
	if hasRecords(kind) {
		b.shows(revision)
	}
}

// applyRecord puts a record's value in, or takes it out.
func (b *builder) applyRecord(value any, in bool) {
	switch r := value.(type) {
	case *registry.Node:
		if in {
			b.setNode(r.Node, r)
		} else {
			b.setNode(r.Node, nil)
		}
	case *registry.Service:
		b.declare(r, in)
	case *registry.Resource:
		b.declareResource(r, in)
	case *registry.Drained:
		b.drain(r, in)
	case *seenEntry:
		b.see(r, in)
	}
}

func (b *builder) declare(r *registry.Service, in bool) {
	v := b.service(r.Service, r.App)
	if in {
		v.declared = r
		b.claimDeclared(r.Namespace, r.App, 1)
		return
	}
	v.declared = nil
	b.claimDeclared(r.Namespace, r.App, -1)
	b.prune(v)
}
