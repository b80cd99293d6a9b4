package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// reach decides how others reach the container: by which networks, or by the
// node alone. It returns false if nobody can, and refuses the container.
func (d *decision) reach(i *registry.Instance) bool {
	f := d.facts
	i.Networks = []registry.Network{}
	if problem := f.joinProblem(); problem != "" {
		d.refuse(ReasonJoined, "%s", problem)
		return false
	}
	if owner := f.owner(); owner.mode == modeHost {
		why := "the container's network mode"
		if owner != f {
			why = sharedNetwork(owner)
		}
		d.choose("network", modeHost, why+"; it is reached by the node's address")
		return true
	}
	i.Networks = d.networks()
	i.AsksFrom, i.NetworkOf = f.asksFrom(i.Networks), f.networkOf()
	if published(i.Ports) || slices.ContainsFunc(i.Networks, func(n registry.Network) bool { return n.IPv4.IsValid() || n.IPv6.IsValid() }) {
		return true
	}
	why := "it is on no network"
	switch {
	case f.mode == modeNone:
		why = "its network mode is none"
	case len(f.attachments) > 0 && f.labels["rackdns.network"] != "":
		why = fmt.Sprintf("label rackdns.network=%s: it is not on that network, only on %s",
			registry.Quote(f.labels["rackdns.network"]), networkNames(f.attachments))
	}
	d.refuse(ReasonNoNetwork, "%s and it publishes no port, so nobody reaches it", why)
	return false
}

func published(ports []registry.Port) bool {
	return slices.ContainsFunc(ports, func(p registry.Port) bool { return len(p.Bindings)+len(p.Loopback) > 0 })
}

// owner returns the container whose network this one is in: itself, or in
// `container:X` mode X, or the one whose network X shares in its turn. It
// returns nil if that one is gone.
func (f *facts) owner() *facts {
	for f != nil && f.joins != "" {
		f = f.joined
	}
	return f
}

// joinProblem says why a container that shares another one's network is not in
// the network that the other one has now, if it isn't.
func (f *facts) joinProblem() string {
	for ; f.joins != ""; f = f.joined {
		x := f.joined
		switch {
		case x == nil:
			return fmt.Sprintf("container %s, whose network it shares, is gone", printable(shortID(f.joins)))
		case !x.running():
			return fmt.Sprintf("container %s, whose network it shares, is not running but %q", printable(x.name), x.status)
		case f.started.Before(x.started):
			return fmt.Sprintf("container %s, whose network it shares, was started again at %s; this one stays in the old, dead network until it is restarted too",
				printable(x.name), x.started.Format(time.RFC3339))
		}
	}
	return ""
}

func sharedNetwork(owner *facts) string {
	return fmt.Sprintf("the network of container %s, which it shares", printable(owner.name))
}

// networks returns the container's networks, the preferred one first.
func (d *decision) networks() []registry.Network {
	f := d.facts
	owner := f.owner()
	why := "the container's network mode"
	if owner != f {
		why = sharedNetwork(owner)
	}
	if err := owner.mesh.unknown; err != nil {
		d.note("network ingress: its service publishes ports by Swarm's routing mesh, which aren't told: %s; publish them with mode=host, or run its containers on managers", err)
	}
	attached := slices.DeleteFunc(slices.Clone(owner.attachments), func(a attachment) bool {
		return a.isMesh() || !usable(a.ipv4).IsValid() && !usable(a.ipv6).IsValid()
	})
	if want := f.labels["rackdns.network"]; want != "" {
		attached = slices.DeleteFunc(attached, func(a attachment) bool { return !d.named(a, want) })
		if len(attached) == 0 {
			d.note("label rackdns.network=%s: the container is not on that network (yet); no network is registered", registry.Quote(want))
		}
		why = "label rackdns.network"
	}
	sortAttachments(attached, owner.mode)
	networks := make([]registry.Network, 0, len(attached))
	for _, a := range attached {
		networks = append(networks, registry.Network{
			ID:    shortID(a.id),
			Name:  clean(a.name, maxText),
			Scope: a.scope,
			IPv4:  usable(a.ipv4),
			IPv6:  usable(a.ipv6),
		})
	}
	if len(networks) == 0 {
		// It isn't reached by those that it is on, so they have no address. But that
		// there are some tells it from one that has the node's own network.
		others := slices.DeleteFunc(slices.Clone(owner.attachments), func(a attachment) bool { return a.isMesh() || a.id == "" })
		sortAttachments(others, owner.mode)
		for _, a := range others {
			networks = append(networks, registry.Network{ID: shortID(a.id), Name: clean(a.name, maxText), Scope: a.scope})
		}
	}
	d.chooseNetwork(attached, owner, why)
	return networks
}

func (d *decision) chooseNetwork(attached []attachment, owner *facts, why string) {
	if len(attached) == 0 {
		return
	}
	first := attached[0]
	if !first.is(owner.mode) && d.facts.labels["rackdns.network"] == "" && owner == d.facts {
		why = "first by gateway priority, then by name"
	}
	var after []string
	for _, a := range attached[1:] {
		after = append(after, printable(a.name))
	}
	d.choose("network", printable(first.name), why, after...)
}

// usable drops an address that registry values must not hold.
func usable(a netip.Addr) netip.Addr {
	if !a.IsGlobalUnicast() || a.Zone() != "" {
		return netip.Addr{}
	}
	return a
}

// named reports whether a label means the network: by its name, by its ID, or
// by the name that it has within its Compose project or Swarm stack.
func (d *decision) named(a attachment, want string) bool {
	if a.is(want) {
		return true
	}
	for _, label := range []string{"com.docker.compose.project", "com.docker.stack.namespace"} {
		if p := d.facts.labels[label]; p != "" && a.name == p+"_"+want {
			return true
		}
	}
	return false
}

// isMesh reports whether it is Swarm's network of the routing mesh, by which nobody
// else reaches a container, and on which are those whose service publishes a port so.
func (a attachment) isMesh() bool { return a.name == "ingress" && a.scope == "swarm" }

// is reports whether s is the network's name or its ID, cut or not.
func (a attachment) is(s string) bool {
	const short = 12
	return s != "" && (a.name == s || len(s) >= short && strings.HasPrefix(a.id, s))
}

// sortAttachments puts networks in an order that depends on nothing but the
// container: users of other registries got a random one after each restart.
func sortAttachments(as []attachment, mode string) {
	slices.SortFunc(as, func(a, b attachment) int {
		return cmp.Or(
			cmp.Compare(boolInt(!a.is(mode)), boolInt(!b.is(mode))),
			cmp.Compare(b.priority, a.priority),
			strings.Compare(a.name, b.name),
		)
	})
}

func networkNames(as []attachment) string {
	names := make([]string, 0, len(as))
	for _, a := range as {
		names = append(names, printable(a.name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
