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
	if rest == "" && s.isService(last, req.Question[0].Qtype) {
		snapshot, client, known := s.rack.AwaitContainer(ctx, snapshot, w, req)
		if !known {
			// Whose it is will be known in a moment, and others must not deny
			// it until then.
			s.counters.unknown.Inc()
			return dns.RcodeServerFailure, nil
		}
		alias.Name, ok = ofClient(snapshot, client, last)
	} else if rest != "" && snapshot.App(last) != nil && s.isNamespace(last) {
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
