package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// lookupLimit bounds the look-up of the engine's host.
const lookupLimit = 5 * time.Second

// elsewhere reports whether an engine is on another host than this one, and then
// returns that host's address: the one that was configured, else the one by which
// the engine is reached.
func elsewhere(at dockerclient.Endpoint, configured netip.Addr, ls []link) (addr netip.Addr, remote bool, err error) {
	name := at.Remote()
	if name == "" {
		return configured, false, nil
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(name); err == nil {
		ips = append(ips, ip)
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), lookupLimit)
		defer cancel()
		if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", name); err != nil && !configured.IsValid() {
			return addr, true, fmt.Errorf("the Docker Engine is at %s, and no address of %s is known: say with --host-address by which address others reach that host: %w", at, name, err)
		}
	}
	var v4, others []netip.Addr
	for _, ip := range ips {
		switch ip = ip.Unmap(); {
		case ip.IsLoopback(), ip.IsUnspecified(), has(ls, ip):
			return configured, false, nil
		case ip.Is4():
			v4 = append(v4, ip)
		default:
			others = append(others, ip)
		}
	}
	found := slices.Concat(v4, others)
	switch {
	case configured.IsValid():
		return configured, true, nil
	case len(v4) > 1 || len(v4) == 0 && len(others) > 1:
		return addr, true, fmt.Errorf("the Docker Engine is at %s, whose host has several addresses, %v: say with --host-address by which of them others reach it", at, found)
	}
	if why := badNodeAddress(found[0]); why != "" {
		return addr, true, fmt.Errorf("the Docker Engine is at %s, whose address %s: say with --host-address by which address others reach that host", at, why)
	}
	return found[0], true, nil
}
