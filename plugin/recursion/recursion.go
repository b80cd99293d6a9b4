// Package recursion is the CoreDNS plugin that says for whom names outside of
// the rack are looked up: without it, a server that listens on a public address
// and forwards is an open resolver, by which anybody can have anybody flooded
// (RFC 5358).
package recursion

import (
	"context"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/plugin/rack"
)

const name = "recursion"

var _ plugin.Handler = (*Recursion)(nil)

// Recursion refuses names that are looked up elsewhere, or remembered from
// there, to clients that it isn't told to serve.
type Recursion struct {
	Next plugin.Handler

	// any says that all clients are served, localnets that those of this
	// host's networks are.
	any, localnets bool
	// prefixes are further networks, by configuration.
	prefixes []netip.Prefix
	// except are zones of this server's own, beside those of rack.
	except []string

	// rack answers for its zones whoever asks; nil if the server block has none.
	rack     *rack.Rack
	networks *networks
	refused  refusals
}

// Name implements plugin.Handler.
func (*Recursion) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (r *Recursion) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	if r.any || r.authoritative(req) || r.allowed(w) || rack.OwnLookup(ctx) {
		return plugin.NextOrFailure(name, r.Next, ctx, w, req)
	}
	r.refused.count(rack.RemoteIP(w))
	// The server's own refusal is no longer than the question.
	return dns.RcodeRefused, nil
}

// authoritative reports whether a question is about a name that this server
// itself answers for.
func (r *Recursion) authoritative(req *dns.Msg) bool {
	if len(req.Question) == 0 {
		return false
	}
	lower := strings.ToLower(req.Question[0].Name)
	return r.rack != nil && r.rack.Serves(lower) || len(r.except) > 0 && plugin.Zones(r.except).Matches(lower) != ""
}

// allowed reports whether names are looked up for whoever asks.
func (r *Recursion) allowed(w dns.ResponseWriter) bool {
	client := rack.RemoteIP(w)
	for _, p := range r.prefixes {
		if p.Contains(client) {
			return true
		}
	}
	return r.localnets && r.networks.contain(client)
}
