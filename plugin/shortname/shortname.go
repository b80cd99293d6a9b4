// Package shortname is the CoreDNS plugin that lets containers leave out the
// rack's zone: `web.shop.` for a service of an app, and `web.` for one of the
// asker's own app. The rack plugin makes the answers.
package shortname

import (
	"context"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/plugin/rack"
)

const name = "shortname"

var _ plugin.Handler = (*Shortname)(nil)

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
}

// Name implements plugin.Handler.
func (s *Shortname) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (s *Shortname) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	if !isQuestion(req) {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	lower := strings.ToLower(req.Question[0].Name)
	rest, last := split(lower)
	// No name of ours has anything to escape, such as a dot within a label.
	if last == "" || strings.IndexByte(lower, '\\') >= 0 || s.rack.Serves(lower) {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	snapshot := s.rack.Snapshot()
	if snapshot == nil {
		// A name that can be ours must not be denied by others, who know
		// nothing of it, only because we know nothing yet.
		if s.canBeOurs(rest, last, req.Question[0].Qtype) {
			s.counters.unsynced.Inc()
			return s.rack.Unsynced()
		}
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	alias, ok := rack.Alias{Zone: last + "."}, false
	if rest == "" {
		alias.Name, ok = s.ofAsker(snapshot, w, req, last)
	} else if snapshot.App(last) != nil && s.isNamespace(last) {
		alias.Name, ok = strings.TrimSuffix(lower, "."), true
	}
	if !ok {
		return plugin.NextOrFailure(name, s.Next, ctx, w, req)
	}
	if rest == "" {
		s.counters.bare.Inc()
	} else {
		s.counters.qualified.Inc()
	}
	return s.rack.ServeAlias(ctx, w, req, alias)
}

// ofAsker returns what a bare label stands for in the asker's own app, if the
// asker is a container that is known by its address and its app has it.
func (s *Shortname) ofAsker(snapshot *index.Snapshot, w dns.ResponseWriter, req *dns.Msg, label string) (string, bool) {
	if !s.isService(label, req.Question[0].Qtype) {
		return "", false
	}
	asker := rack.Client(snapshot, w, req)
	if asker.Instance() == nil {
		return "", false
	}
	full := label + "." + asker.Instance().App()
	kind := snapshot.Lookup(full, asker).Kind
	return full, kind == index.AService || kind == index.Target
}

// canBeOurs reports whether a name would be answered if the rack had the app
// and the service.
func (s *Shortname) canBeOurs(rest, last string, qtype uint16) bool {
	if rest == "" {
		return s.isService(last, qtype)
	}
	return s.isNamespace(last)
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
