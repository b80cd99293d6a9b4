package index

import (
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// What was seen lately has no records, but its names are still ours: they are
// answered with NODATA, and not asked of the world. It is kept apart from what
// there is, so that no list shows it, it claims no namespace, and a transfer has
// nothing of it. For the same reason the serial doesn't know of it.

// seenEntry is what is kept of a [registry.Seen]: names are those that its
// service has an app by.
type seenEntry struct {
	full  string
	app   string
	names []string
}

func newSeenEntry(s *registry.Seen) *seenEntry {
	e := &seenEntry{full: s.Service + "." + s.App, app: interned(s.App)}
	e.names = append(e.names, e.app)
	for ns := range s.Since {
		if ns != s.App {
			e.names = append(e.names, interned(ns))
		}
	}
	return e
}

// seenApp is an app that is found by a name, with the number of its services
// that were seen.
type seenApp struct {
	app      string
	services int
}

// Seen reports whether a container of a service was there within the last hour,
// also one that has stopped.
func (s *Snapshot) Seen(app, service string) bool {
	_, ok := s.seen.get(service + "." + app)
	return ok
}

// see takes note of a service that was seen, or isn't known any more.
func (b *builder) see(e *seenEntry, in bool) {
	if in {
		b.seen.set(b.owner, pair[string, struct{}]{name: e.full})
	} else {
		b.seen.delete(b.owner, e.full)
	}
	service := strings.TrimSuffix(e.full, "."+e.app)
	for _, name := range e.names {
		b.touch(service + "." + name)
		old, _ := b.seenNames.get(name)
		apps := slices.Clone(old.value)
		at, found := slices.BinarySearchFunc(apps, e.app, func(a seenApp, app string) int { return strings.Compare(a.app, app) })
		if !found {
			b.touch(anyService + "." + name)
			apps = slices.Insert(apps, at, seenApp{app: e.app})
		}
		if in {
			apps[at].services++
		} else if apps[at].services--; apps[at].services <= 0 {
			b.touch(anyService + "." + name)
			apps = slices.Delete(apps, at, at+1)
		}
		if len(apps) == 0 {
			b.seenNames.delete(b.owner, name)
			continue
		}
		b.seenNames.set(b.owner, pair[string, []seenApp]{name, apps})
	}
}

// lookupSeen is Lookup for names of which there is nothing now: those of apps,
// namespaces and services are found that were seen.
func (s *Snapshot) lookupSeen(name string, c *Client) Match {
	rest, last := cutLast(name)
	apps, ok := s.seenNames.get(last)
	switch {
	case !ok:
		return Match{}
	case rest == "":
		return Match{Kind: Empty}
	}
	below, service := cutLast(rest)
	for _, a := range apps.value {
		if _, ok := s.seen.get(service + "." + a.app); ok {
			return newService(0, service, a.app).lookup(s.rules, below, c)
		}
	}
	return Match{}
}

// Known reports whether a name is that of an app, or a namespace, that there is
// or that was seen lately: names below it are the rack's.
func (s *Snapshot) Known(name string) bool {
	if s.App(name) != nil {
		return true
	}
	_, ok := s.seenNames.get(name)
	return ok
}
