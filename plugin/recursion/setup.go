package recursion

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/plugin/rack"
)

// Words for clients, as in BIND's address match lists.
const (
	// Any is everybody.
	Any = "any"
	// None is nobody.
	None = "none"
	// LocalNets is this host and its networks, Docker's among them.
	LocalNets = "localnets"
)

func init() { plugin.Register(name, setup) }

func setup(c *caddy.Controller) error {
	r, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		r.Next = next
		return r
	})
	// Only then are all plugins of the server block there.
	c.OnStartup(func() error {
		if own, ok := dnsserver.GetConfig(c).Handler("rack").(*rack.Rack); ok {
			r.rack = own
		}
		if r.localnets && !r.any {
			return r.networks.start()
		}
		return nil
	})
	c.OnShutdown(r.networks.stop)
	return nil
}

func parse(c *caddy.Controller) (*Recursion, error) {
	r := &Recursion{networks: newNetworks(interfaceNetworks)}
	for n := 0; c.Next(); n++ {
		if n > 0 {
			return nil, plugin.ErrOnce
		}
		if err := r.allow(c.RemainingArgs()); err != nil {
			return nil, c.Err(err.Error())
		}
		for c.NextBlock() {
			property := c.Val()
			if property != "except" {
				return nil, c.Errf("property %q: there is no such property", property)
			}
			if err := r.exclude(c.RemainingArgs()); err != nil {
				return nil, c.Errf("property %q: %v", property, err)
			}
		}
	}
	return r, nil
}

// allow takes whom names are looked up for: nobody said is LocalNets.
func (r *Recursion) allow(clients []string) error {
	if len(clients) == 0 {
		clients = []string{LocalNets}
	}
	for _, client := range clients {
		switch client {
		case Any:
			r.any = true
		case None:
		case LocalNets:
			r.localnets = true
		default:
			p, err := parsePrefix(client)
			if err != nil {
				return err
			}
			r.prefixes = append(r.prefixes, p)
		}
	}
	if len(clients) > 1 && slices.Contains(clients, None) {
		return fmt.Errorf("%q stands alone", None)
	}
	return nil
}

// CheckClients reports what is wrong with clients as they stand in a Corefile.
func CheckClients(clients []string) error { return new(Recursion).allow(clients) }

func (r *Recursion) exclude(zones []string) error {
	if len(zones) == 0 {
		return fmt.Errorf("wants at least 1 zone")
	}
	for _, z := range zones {
		if _, ok := dns.IsDomainName(z); !ok {
			return fmt.Errorf("%q is not a zone", z)
		}
		r.except = append(r.except, plugin.Name(z).Normalize())
	}
	return nil
}

// parsePrefix parses a network or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is none of %s, %s, %s, and no network such as 10.0.2.0/24", s, LocalNets, Any, None)
	case p != p.Masked():
		return p, fmt.Errorf("%q is an address in a network; the network is %s", s, p.Masked())
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is an IPv4-mapped network: write it as IPv4", s)
	}
	return p, nil
}
