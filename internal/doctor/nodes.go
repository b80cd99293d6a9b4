package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

func checkNodes(_ context.Context, s *scene) []Result {
	nodes, err := s.nodes()
	if err != nil {
		return skipped("agents: %s", err)
	}
	contacts, err := s.contacts()
	if err != nil {
		return skipped("agents: %s", err)
	}
	var found []Result
	alive := 0
	for _, n := range nodes {
		if n.Absent {
			continue // said by another check
		}
		alive++
		switch c, ok := contacts[n.Node.Node]; {
		case !ok:
			found = append(found, failed("look at the agent's log there", "the agent of node %s has just been lost: its lease has ended", n.Node.Node))
		case c.TTL == 0:
			found = append(found, warned("remove the key if no agent wrote it (etcdctl del): nothing else ever will", "node %s has no lease, so that it would outlive its agent", n.Node.Node))
		case c.Ago > c.TTL*2/3:
			found = append(found, warned("look whether it runs and reaches etcd: its names go when the lease ends", "the agent of node %s was heard of %s ago, and its lease is %s", n.Node.Node, c.Ago.Round(time.Second), c.TTL))
		}
	}
	if alive == 0 {
		found = append(found, failed("start one on each Docker host: rackdns agent, or standalone", "no node has an agent"))
	} else if _, ok := contacts[s.here()]; !ok && !s.cfg.NoEngine {
		found = append(found, warned("start it (rackdns agent), or say by --node what this host is called; --docker off if it has no engine", "this host, %s, has no agent", s.here()))
	}
	return orPassed(found, "%s with an agent, each heard of in time", several(alive, "node"))
}

// living are the nodes that have an agent.
func (s *scene) living() ([]registry.NodeState, error) {
	nodes, err := s.nodes()
	return slices.DeleteFunc(slices.Clone(nodes), func(n registry.NodeState) bool { return n.Absent }), err
}

func checkNodeVersions(_ context.Context, s *scene) []Result {
	nodes, err := s.living()
	if err != nil {
		return skipped("agents' versions: %s", err)
	}
	versions := map[string][]string{}
	for _, n := range nodes {
		v := cmp.Or(n.Version, "unknown")
		versions[v] = append(versions[v], n.Node.Node)
	}
	switch len(versions) {
	case 0:
		return skipped("agents' versions: there are no agents")
	case 1:
		v := slices.Collect(maps.Keys(versions))[0]
		if v != s.cfg.Version {
			return []Result{warned("use the agents' version of the command, or upgrade them", "the agents are %s, and this command is %s", v, s.cfg.Version)}
		}
		return passed("all are %s, as this command is", v)
	}
	return []Result{warned("bring the upgrade to its end", "agents differ: %s", sides(versions))}
}

// sides says who is on which side.
func sides(by map[string][]string) string {
	var all []string
	for _, v := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%s on %s", v, some(by[v])))
	}
	return strings.Join(all, "; ")
}

// checkIdentity looks for hosts that were copied: one engine's ID, or one address,
// under several names.
func checkIdentity(_ context.Context, s *scene) []Result {
	nodes, err := s.living()
	if err != nil {
		return skipped("who the nodes are: %s", err)
	}
	engines, addresses := map[string][]string{}, map[netip.Addr][]string{}
	for _, n := range nodes {
		if n.Engine != "" {
			engines[n.Engine] = append(engines[n.Engine], n.Node.Node)
		}
		if len(n.Addresses) > 0 {
			addresses[n.Addresses[0]] = append(addresses[n.Addresses[0]], n.Node.Node)
		}
	}
	var found []Result
	for _, e := range slices.Sorted(maps.Keys(engines)) {
		if on := engines[e]; len(on) > 1 {
			found = append(found, failed("two agents of one engine: stop one; two hosts of one image: stop the engine, remove /var/lib/docker/engine-id or /etc/docker/key.json of the copy, and start it",
				"nodes %s have the same Docker Engine %s", some(on), e))
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(addresses), netip.Addr.Compare) {
		if on := addresses[a]; len(on) > 1 {
			found = append(found, failed("say on each by --host-address how others reach it", "nodes %s have the same address %s", some(on), a))
		}
	}
	return orPassed(found, "each has an engine and an address of its own")
}

// checkAddresses looks for addresses by which others don't reach a node.
func checkAddresses(_ context.Context, s *scene) []Result {
	nodes, err := s.living()
	if err != nil {
		return skipped("nodes' addresses: %s", err)
	}
	var found []Result
	for _, n := range nodes {
		if len(n.Addresses) == 0 {
			found = append(found, failed("say by --host-address of its agent how others reach it", "node %s has no address", n.Node.Node))
			continue
		}
		addr := n.Addresses[0]
		if network := gatewayOf(&n.Node, addr); network != "" {
			r := warned("say by --host-address of its agent how others reach it", "node %s is at %s on its Docker network %s, where only it and its containers reach what is published", n.Node.Node, addr, network)
			if len(nodes) > 1 {
				r.Outcome = Failed
			}
			found = append(found, r)
		}
		if n.Unproxied {
			found = append(found, warned("put those that need each other on one network, or have docker-proxy run (userland-proxy), or upgrade to Docker Engine 28",
				"the engine of node %s runs without docker-proxy, so that its containers don't reach what is published on another of its networks", n.Node.Node))
		}
	}
	return orPassed(found, "%s", strings.Join(addressList(nodes), ", "))
}

func addressList(nodes []registry.NodeState) []string {
	var all []string
	for _, n := range nodes {
		if len(n.Addresses) > 0 && len(all) < most {
			all = append(all, n.Node.Node+" at "+n.Addresses[0].String())
		}
	}
	if len(nodes) > most {
		all = append(all, fmt.Sprintf("and %d more", len(nodes)-most))
	}
	if len(all) == 0 {
		return []string{"there are no agents"}
	}
	return all
}

// gatewayOf returns the Docker network of a node on which it has that address.
func gatewayOf(n *registry.Node, addr netip.Addr) string {
	for _, w := range n.Networks {
		if slices.Contains(w.Gateways, addr) {
			return w.Name
		}
	}
	return ""
}

func checkDrained(_ context.Context, s *scene) []Result {
	nodes, err := s.nodes()
	if err != nil {
		return skipped("drained nodes: %s", err)
	}
	var found []Result
	for _, n := range nodes {
		if !n.Draining {
			continue
		}
		how := "drained"
		if n.Drained != nil {
			how = n.Drained.String()
		}
		if n.Absent {
			how += ", and has no agent"
		}
		found = append(found, warned("rackdns node drain "+n.Node.Node+" --undo, once it may serve again", "node %s is %s: nobody is told of its containers", n.Node.Node, how))
	}
	return orPassed(found, "none")
}
