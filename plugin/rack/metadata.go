package rack

import (
	"context"
	"sync"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"

	"github.com/rackdns/rackdns/internal/index"
)

var _ metadata.Provider = (*Rack)(nil)

// Metadata implements metadata.Provider. It is called for every query, so
// nothing is looked up before somebody wants to know.
func (r *Rack) Metadata(ctx context.Context, state request.Request) context.Context {
	s := r.Snapshot()
	if s == nil {
		return ctx
	}
	asker := sync.OnceValue(func() index.Asker { return r.Client(s, state.W, state.Req) })
	client := func(get func(*index.Instance) string) metadata.Func {
		return func() string {
			if i := asker().Instance(); i != nil {
				return get(i)
			}
			return ""
		}
	}
	metadata.SetValueFunc(ctx, "rack/client-app", client((*index.Instance).App))
	metadata.SetValueFunc(ctx, "rack/client-service", client((*index.Instance).Service))
	metadata.SetValueFunc(ctx, "rack/client-instance", client(func(i *index.Instance) string { return i.ID() }))

	lower := state.Name()
	z := r.match(lower)
	if z == nil {
		return ctx
	}
	if !z.forward {
		metadata.SetValueFunc(ctx, "rack/rack", func() string { return r.index.Rack() })
		return ctx
	}
	r.MetadataOf(ctx, state, s, func() (string, bool) { return relative(lower, z.name), true })
	return ctx
}

// MetadataOf sets the metadata of a name, which is relative to the rack's zone. All
// of it is empty where that turns out to be none of ours. It is called for every query, so nothing is looked
// up before somebody wants to know.
func (r *Rack) MetadataOf(ctx context.Context, state request.Request, s *index.Snapshot, full func() (name string, ok bool)) {
	match := sync.OnceValue(func() index.Match {
		name, _ := full()
		return s.Lookup(name, s.Asker(RemoteIP(state.W)))
	})
	of := func(label string, get func(m index.Match) string) {
		metadata.SetValueFunc(ctx, "rack/"+label, func() string {
			if _, ok := full(); !ok {
				return ""
			}
			return get(match())
		})
	}
	of("rack", func(index.Match) string { return r.index.Rack() })
	of("kind", func(m index.Match) string { return kindNames[kinds[m.Kind]] })
	of("app", func(m index.Match) string {
		switch {
		case m.Service != nil:
			return m.Service.App()
		case m.Resource != nil:
			return m.Resource.App
		}
		return ""
	})
	of("service", func(m index.Match) string {
		if m.Service != nil {
			return m.Service.Name()
		}
		return ""
	})
	of("resource", func(m index.Match) string {
		if m.Resource != nil {
			return m.Resource.Name
		}
		return ""
	})
}

// InZone returns a relative name as a full one, in the rack's first zone.
func (r *Rack) InZone(relative string) string { return relative + "." + r.base }
