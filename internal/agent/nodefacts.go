package agent

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/rackdns/rackdns/internal/registry"
)

const driverBridge = "bridge"

// nodeFacts keeps the node's key equal to what the host and its engine are.
type nodeFacts struct {
	// due has something in it if it is time to look.
	due  chan struct{}
	sink publisher
	// last is what was last told.
	last registry.Node
}

// refreshSoon has it looked at again. It never waits.
func (n *nodeFacts) refreshSoon() {
	select {
	case n.due <- struct{}{}:
	default:
	}
}

// keepNodeFacts follows the host's interfaces and the engine's networks until
// ctx ends or the engine doesn't answer. The next container on a new network may
// ask milliseconds after the engine has told of the network.
func (a *Agent) keepNodeFacts(ctx context.Context, e engine, version string) error {
	tick := time.NewTicker(a.cfg.RelistInterval)
	defer tick.Stop()
	for {
		if err := a.refreshNodeFacts(ctx, e, version); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.node.due:
		case <-tick.C:
		}
	}
}

func (a *Agent) refreshNodeFacts(ctx context.Context, e engine, version string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := dockerBridges(ctx, e)
	if err != nil {
		return err
	}
	a.refresh(&b, version)
	return nil
}

// refresh has the node be where it is now, and the registry know what is new of
// it. Without bridges and version of the engine, those that were known last do.
// It reports whether the host has an address.
func (a *Agent) refresh(b *bridges, version string) bool {
	a.moving.Lock()
	defer a.moving.Unlock()
	if b != nil {
		a.bridges, a.version = *b, version
	}
	was := a.home()
	err := a.move()
	if err != nil {
		a.lost.Note("this host has no address for others: what is registered stays at the last one", err, "address", was.addr)
	} else {
		a.lost.Over("this host has an address for others again", "address", a.HostAddress())
	}
	node := a.describe(a.node.last)
	if !reflect.DeepEqual(node, a.node.last) {
		a.node.last = node
		a.node.sink.SetNode(node)
	}
	if a.home() != was {
		a.tracker.lookAgain(time.Now())
	}
	return err == nil
}

// describe returns what the registry should know of the node, besides who it is.
func (a *Agent) describe(n registry.Node) registry.Node {
	at := a.place.Load()
	n.Addresses = at.addresses
	n.Networks = a.bridges.networks
	n.Links = nil
	for _, l := range at.links {
		if a.bridges.isBridge(l) {
			continue
		}
		for _, p := range l.subnets {
			if !slices.Contains(n.Links, p) {
				n.Links = append(n.Links, p)
			}
		}
	}
	slices.SortFunc(n.Links, comparePrefixes)
	// Of another host's engine /proc says nothing.
	n.Unproxied, n.NoIPv6NAT = a.filters("/proc")
	return n
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// nodeNetwork is a Docker network as the registry has it. Those without subnets
// have no containers with addresses of their own.
func nodeNetwork(n *network.Summary) (w registry.NodeNetwork, ok bool) {
	w = registry.NodeNetwork{ID: shortID(n.ID), Name: clean(n.Name, maxText), Driver: n.Driver, Scope: n.Scope, Internal: n.Internal}
	for _, c := range n.IPAM.Config {
		p, err := netip.ParsePrefix(c.Subnet)
		if err != nil {
			continue
		}
		w.Subnets = append(w.Subnets, p.Masked())
		if n.Driver != driverBridge {
			// It is a router's, or every container's own.
			continue
		}
		gateway, err := netip.ParseAddr(strings.Split(c.Gateway, "/")[0])
		if err != nil {
			gateway = p.Masked().Addr().Next()
		}
		w.Gateways = append(w.Gateways, gateway)
	}
	slices.SortFunc(w.Subnets, comparePrefixes)
	slices.SortFunc(w.Gateways, netip.Addr.Compare)
	return w, len(w.Subnets) > 0
}

// Versions of the engine from which on the packet filter does what docker-proxy
// does.
const (
	// routesBetweenNetworks leads from one network to what is published on another.
	routesBetweenNetworks = 28
	// filtersIPv6 has rules for IPv6 (ip6tables) by default. Before, they are an
	// experiment that has to be asked for, and no call tells whether it was.
	filtersIPv6 = 27
)

// isBefore reports whether an engine is older than a version; one that doesn't
// say is.
func isBefore(version string, major int) bool {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return err != nil || n < major
}

// filters says what the packet filter doesn't do, where it alone leads to what is
// published: see [registry.Node].
func (a *Agent) filters(proc string) (unproxied, noIPv6NAT bool) {
	if a.remote || !withoutProxy(a.bridges, proc) {
		return false, false
	}
	return isBefore(a.version, routesBetweenNetworks), isBefore(a.version, filtersIPv6)
}

// withoutProxy reports whether the engine was told to do without docker-proxy. No
// call tells; but such an engine has its bridges route loopback addresses.
func withoutProxy(b bridges, proc string) bool {
	for name := range b.names {
		if name == "" {
			continue
		}
		value, err := os.ReadFile(filepath.Join(proc, "sys", "net", "ipv4", "conf", filepath.Base(name), "route_localnet"))
		if err == nil && strings.TrimSpace(string(value)) == "1" {
			return true
		}
	}
	return false
}
