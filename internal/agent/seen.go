package agent

import (
	"context"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// seenSink is what the agent needs of a [registry.SeenKeeper]: to be told which
// containers there are, running or not.
type seenSink interface {
	Run(ctx context.Context)
	Set(id string, s registry.SeenService)
	Remove(id string)
}

// existing is a container that there is, running or not, since it was first
// looked at. One that nobody is told of has no service.
type existing struct {
	service registry.SeenService
	noted   time.Time
}

// serviceOf says which service's name a container bears, if any. One that doesn't
// run still bears the name that it had.
func (d *decision) serviceOf() (s registry.SeenService, ok bool) {
	i := d.instance
	if d.notOurs {
		return s, false
	}
	if i == nil {
		switch d.refusal.Reason {
		case ReasonNotRunning, ReasonNoNetwork, ReasonJoined:
			// It has a name, and would be told of if it could be reached.
		default:
			return s, false
		}
		f := d.facts
		x := &decision{facts: f, home: d.home}
		if f.imageGone || x.leftOut() {
			return s, false
		}
		i = &registry.Instance{Started: f.started}
		i.Ports = x.ports()
		if !x.identify(i) {
			return s, false
		}
	}
	if i.Hidden {
		return s, false
	}
	s = registry.SeenService{App: i.App, Service: i.Service, Namespace: i.Namespace, Since: i.Started}
	if s.Since.Year() < 1970 {
		// It never ran.
		s.Since = time.Time{}
	}
	return s, true
}

// exists notes that there is a container, and of which service it is. What it was
// while it ran counts: its ports said more then.
func (t *tracker) exists(id string, d *decision) {
	old, known := t.existing[id]
	if known && !d.facts.running() {
		return
	}
	s, ok := d.serviceOf()
	if !known {
		old.noted = time.Now()
	}
	t.existing[id] = existing{s, old.noted}
	switch {
	case t.seen == nil:
	case ok:
		t.seen.Set(shortID(id), s)
	default:
		t.seen.Remove(shortID(id))
	}
}

// vanished notes that a container was removed.
func (t *tracker) vanished(id string) {
	if _, ok := t.existing[id]; !ok {
		return
	}
	delete(t.existing, id)
	if t.seen != nil {
		t.seen.Remove(shortID(id))
	}
}

// listedStopped takes in which containers there are that don't run. Those that
// nobody has looked at yet are looked at once; those that are known and in no list
// are gone, unless they are newer than that list.
func (t *tracker) listedStopped(ids []string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	listed := make(map[string]bool, len(ids))
	for _, id := range ids {
		listed[id] = true
		if _, known := t.existing[id]; !known && t.entries[id] == nil {
			t.mark(id, at, cold)
		}
	}
	for id, x := range t.existing {
		if !listed[id] && t.entries[id] == nil && x.noted.Before(at) {
			t.vanished(id)
		}
	}
}
