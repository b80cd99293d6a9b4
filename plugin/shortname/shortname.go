// Package shortname is the CoreDNS plugin that lets containers leave out the
// rack's zone: `web.shop.` for a service of an app, and `web.` for one of the
// asker's own app. The rack plugin makes the answers.
package shortname

import (
	"context"
	"strings"
	"sync"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
)

const name = "shortname"

var (
	_ plugin.Handler    = (*Shortname)(nil)
	_ metadata.Provider = (*Shortname)(nil)
)

// Shortname answers for short names and hands everything else on, as it is.
type Shortname struct {
	Next plugin.Handler

	rack *rack.Rack
	// listed are labels that are ours though the world knows them too.
	listed map[string]bool
	// zones are the last labels of the rack's own zones. As a namespace, one
	// of them would take the names of other racks.
	zones    map[string]bool
	counters counters
	// place is where the plugin stands in the Corefile.
	place string
}

// Name implements plugin.Handler.
func (s *Shortname) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (s *Shortname) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	if !isQuestion(req) {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	lower, qtype := strings.ToLower(req.Question[0].Name), req.Question[0].Qtype
	if !s.isShort(lower) {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	snapshot := s.rack.Snapshot()
	if snapshot == nil {
		// A name that can be ours must not be denied by others, who know
		// nothing of it, only because we know nothing yet.
		if s.canBeOurs(lower, qtype) {
			s.counters.unsynced.Inc()
			return s.rack.Unsynced()
		}
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	folded := registry.FoldName(strings.TrimSuffix(lower, "."))
	rest, last := split(folded)
	client := func() *index.Client { return s.rack.Client(snapshot, w, req) }
	if rest == "" && s.isService(last, qtype) {
		later, c, known := s.rack.AwaitContainer(ctx, snapshot, w, req)
		if !known {
			// Whose it is will be known in a moment, and others must not deny
			// it until then.
			s.counters.unknown.Inc()
			return dns.RcodeServerFailure, nil
		}
		snapshot, client = later, func() *index.Client { return c }
	}
	full, bare := s.standsFor(snapshot, client, folded, qtype)
	if full == "" {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	if bare {
		s.counters.bare.Inc()
	} else {
		s.counters.qualified.Inc()
	}
	_, zone := split(lower)
	return s.rack.ServeAlias(ctx, w, req, rack.Alias{Zone: zone + ".", Name: full})
}

// isShort reports whether a name in lower case, which is outside of the rack's
// zones, can be a short one: no name of ours has anything to escape, such as a dot
// within a label.
func (s *Shortname) isShort(lower string) bool {
	return lower != "." && strings.IndexByte(lower, '\\') < 0 && !s.rack.Serves(lower)
}

// standsFor returns what a short name stands for, relative to the rack's zone,
// empty if that is nothing of ours. Bare is one of the asker's own app.
func (s *Shortname) standsFor(snapshot *index.Snapshot, client func() *index.Client, folded string, qtype uint16) (full string, bare bool) {
	rest, last := split(folded)
	if rest == "" && s.isService(last, qtype) {
		if full, ok := ofClient(snapshot, client(), last); ok {
			return full, true
		}
		// There are names below it, so it exists (RFC 8020), and others would deny
		// all of them with it.
	}
	if s.isNamespace(last) && snapshot.Known(last) {
		return folded, false
	}
	return "", false
}

// Metadata implements metadata.Provider: what a short name stands for, as rack has
// it for a full one. Nothing is looked up before somebody wants to know.
func (s *Shortname) Metadata(ctx context.Context, state request.Request) context.Context {
	lower := state.Name()
	snapshot := s.rack.Snapshot()
	if snapshot == nil || !isQuestion(state.Req) || !s.isShort(lower) {
		return ctx
	}
	full := sync.OnceValue(func() string {
		client := func() *index.Client { return s.rack.Client(snapshot, state.W, state.Req) }
		full, _ := s.standsFor(snapshot, client, registry.FoldName(strings.TrimSuffix(lower, ".")), state.QType())
		return full
	})
	metadata.SetValueFunc(ctx, name+"/name", func() string {
		if full() == "" {
			return ""
		}
		return s.rack.InZone(full())
	})
	s.rack.MetadataOf(ctx, state, snapshot, func() (string, bool) { return full(), full() != "" })
	return ctx
}

// ofClient returns what a bare label stands for in the client's own app, if the
// client is a container that is known by its address and its app has it.
func ofClient(snapshot *index.Snapshot, c *index.Client, label string) (string, bool) {
	i := c.Instance()
	if i == nil || i.App() == "" {
		return "", false
	}
	full := label + "." + i.App()
	kind := snapshot.Lookup(full, c).Kind
	return full, kind == index.AService || kind == index.Target
}

// canBeOurs reports whether a name would be answered if the rack had the app
// and the service.
func (s *Shortname) canBeOurs(lower string, qtype uint16) bool {
	rest, last := split(registry.FoldName(lower))
	return s.isNamespace(last) || rest == "" && s.isService(last, qtype)
}

// isQuestion reports whether req asks for records of a name.
func isQuestion(req *dns.Msg) bool {
	if len(req.Question) != 1 || req.Opcode != dns.OpcodeQuery || req.Question[0].Qclass != dns.ClassINET {
		return false
	}
	t := req.Question[0].Qtype
	return t != dns.TypeAXFR && t != dns.TypeIXFR
}

// split splits a name into its last label and what is before it, without the
// dots. The root has no label.
func split(name string) (rest, last string) {
	name = strings.TrimSuffix(name, ".")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}
