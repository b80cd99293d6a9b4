package shortname

import (
	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"github.com/rackdns/rackdns/internal/registry"
)

// special are labels that have a meaning to resolvers and programs, which no
// app and no service may take over: special-use names (RFC 6761 and IANA's
// registry), names that networks use for themselves (RFC 6762, appendix G), and
// names that programs ask for by themselves to be configured by the answer.
var special = map[string]bool{
	"alt": true, "example": true, "invalid": true, "local": true, "localhost": true, "onion": true, "test": true,
	"corp": true, "home": true, "internal": true, "intranet": true, "lan": true, "localdomain": true, "private": true,
	"autodiscover": true, "isatap": true, "wpad": true,
}

// isNamespace reports whether a label may be the namespace of an app: the
// world has no names below it.
func (s *Shortname) isNamespace(label string) bool {
	return s.listed[label] || registry.IsLabel(label) && !special[label] && !s.zones[label] && !isPublic(label)
}

// isService reports whether a label may be the bare name of a service. A public
// top-level domain has no addresses, so a service may be called like one; all
// other types are about the domain.
func (s *Shortname) isService(label string, qtype uint16) bool {
	if s.listed[label] {
		return true
	}
	if special[label] || !registry.IsLabel(label) {
		return false
	}
	address := qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeSRV
	return address || !isPublic(label) && !s.zones[label]
}

// isPublic reports whether a label is a public top-level domain.
func isPublic(label string) bool {
	_, icann := publicsuffix.PublicSuffix(label)
	return icann
}

// NeedsListing reports whether a label is the namespace of an app only where it
// is listed, since the world has names of its own below it.
func NeedsListing(label string) bool { return special[label] || isPublic(label) }
