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
	metadata.SetValueFunc(ctx, "rack/rack", func() string { return r.index.Rack() })
	if !z.forward {
		return ctx
	}
	match := sync.OnceValue(func() index.Match { return s.Lookup(relative(lower, z.name), asker()) })
	metadata.SetValueFunc(ctx, "rack/kind", func() string { return kindNames[kinds[match().Kind]] })
	metadata.SetValueFunc(ctx, "rack/app", func() string {
		switch m := match(); {
		case m.Service != nil:
			return m.Service.App()
		case m.Resource != nil:
			return m.Resource.App
		}
		return ""
	})
	metadata.SetValueFunc(ctx, "rack/service", func() string {
		if m := match(); m.Service != nil {
			return m.Service.Name()
		}
		return ""
	})
	metadata.SetValueFunc(ctx, "rack/resource", func() string {
		if m := match(); m.Resource != nil {
			return m.Resource.Name
		}
		return ""
	})
	return ctx
}
