// Package shortname is the CoreDNS plugin that lets containers leave out the
// rack's zone: `web.shop.` for a service of an app, and `web.` for one of the
// asker's own app. The rack plugin makes the answers.
package shortname

import (
	"context"
	"net/netip"
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
	full, bare := s.standsFor(snapshot, rack.RemoteIP(w), lower, qtype)
	if full == "" {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	if bare {
		s.counters.bare.Inc()
	} else {
		s.counters.qualified.Inc()
	}
	_, last := split(lower)
	return s.rack.ServeAlias(ctx, w, req, rack.Alias{Zone: last + ".", Name: full})
}

// isShort reports whether a name in lower case, which is outside of the rack's
// zones, can be a short one: no name of ours has anything to escape, such as a dot
// within a label.
func (s *Shortname) isShort(lower string) bool {
	return lower != "." && strings.IndexByte(lower, '\\') < 0 && !s.rack.Serves(lower)
}

// standsFor returns what a short name stands for, relative to the rack's zone,
// empty if that is nothing of ours. Bare is one of the asker's own app.
func (s *Shortname) standsFor(snapshot *index.Snapshot, from netip.Addr, lower string, qtype uint16) (full string, bare bool) {
	folded := registry.FoldName(strings.TrimSuffix(lower, "."))
	rest, last := split(folded)
	if rest == "" {
		if full, ok := s.ofAsker(snapshot, from, last, qtype); ok {
			return full, true
		}
		// There are names below it, so it exists (RFC 8020), and others would deny
		// all of them with it.
	}
	if s.isNamespace(last) && snapshot.App(last) != nil {
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
		full, _ := s.standsFor(snapshot, rack.RemoteIP(state.W), lower, state.QType())
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

// ofAsker returns what a bare label stands for in the asker's own app, if the
// asker is a container that is known by its address and its app has it.
func (s *Shortname) ofAsker(snapshot *index.Snapshot, from netip.Addr, label string, qtype uint16) (string, bool) {
	if !s.isService(label, qtype) {
		return "", false
	}
	asker := snapshot.Asker(from)
	if asker.Instance() == nil {
		return "", false
	}
	full := label + "." + asker.Instance().App()
	kind := snapshot.Lookup(full, asker).Kind
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
