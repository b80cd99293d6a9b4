package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// nameserverTimeout is how long a DNS server has for its answer. It is on this
// host, but choosing another one for once would replace all containers.
const nameserverTimeout = 2 * time.Second

// dnsPort is the only port at which a container can be told to ask.
const dnsPort = "53"

// nameservers returns the DNS servers that containers are to ask: those that are
// given, once each of them has been seen to know the zone, else the first of the
// candidates that is the zone's own.
func nameservers(ctx context.Context, zone string, given, candidates []netip.Addr) ([]netip.Addr, error) {
	for _, ip := range given {
		if err := knows(ctx, ip, zone, false); err != nil {
			return nil, fmt.Errorf("--dns %s: is no DNS server for %s: %w", ip, zone, err)
		}
	}
	if len(given) > 0 {
		return given, nil
	}
	var asked []string
	for n, ip := range candidates {
		if !ip.IsValid() || ip.IsLoopback() || slices.Contains(candidates[:n], ip) {
			continue
		}
		if knows(ctx, ip, zone, true) == nil {
			return []netip.Addr{ip}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		asked = append(asked, ip.String())
	}
	at := "172.17.0.1"
	if len(asked) > 0 {
		at = asked[0]
	}
	return nil, fmt.Errorf("no DNS server for %s answers at port 53 of %s: start one there, such as rackdns standalone --dns %s:53, or give its address with --dns",
		zone, orNone(asked), at)
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "any address of this host"
	}
	return strings.Join(all, ", ")
}

// knows asks a server about the zone.
func knows(ctx context.Context, ip netip.Addr, zone string, authoritative bool) error {
	ctx, cancel := context.WithTimeout(ctx, nameserverTimeout)
	defer cancel()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	c := dns.Client{Timeout: nameserverTimeout}
	reply, _, err := c.ExchangeContext(ctx, m, net.JoinHostPort(ip.String(), dnsPort))
	switch {
	case err != nil:
		return err
	case reply.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("it answers %s", dns.RcodeToString[reply.Rcode])
	case len(reply.Answer) == 0:
		return errors.New("it knows of no such zone")
	case authoritative && !reply.Authoritative:
		return errors.New("it has the answer from another server")
	}
	return nil
}
