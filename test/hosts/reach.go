package hosts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
)

// Via is the kind of an endpoint.
type Via string

const (
	// ViaContainer is a container's own address and port.
	ViaContainer Via = "container"
	// ViaPublished is an address of its node and a port published there.
	ViaPublished Via = "published"
	// ViaNode is an address of its node that the container shares (host network).
	ViaNode Via = "node"
)

// Endpoint is where a port of an instance may be dialled.
type Endpoint struct {
	Instance *Container
	Proto    string
	// Port is the container's.
	Port uint16
	Via  Via
	// Network is that of the address, for ViaContainer.
	Network string
	// Bound is as Docker tells the address of the publication, for ViaPublished: a
	// wildcard leads to every address of the node's.
	Bound netip.Addr
	At    netip.AddrPort
}

func (e Endpoint) String() string {
	return fmt.Sprintf("%s port %d/%s at %s (%s %s)", e.Instance.Name, e.Port, e.Proto, e.At, e.Via, e.Network)
}

// Fact is what came of dialling an endpoint: the truth that rules are to meet.
type Fact struct {
	Client *Client
	Endpoint
	// Reachable: the instance itself answered.
	Reachable bool
	// Answered is who else did, if somebody did.
	Answered string
	// Err is why nobody did.
	Err error
}

func (f Fact) String() string {
	s := fmt.Sprintf("%s -> %s: ", f.Client, f.Endpoint)
	switch {
	case f.Reachable:
		return s + "reachable"
	case f.Answered != "":
		return s + f.Answered + " answers"
	}
	return s + f.Err.Error()
}

// Reach dials an endpoint, again and for longer if nobody answers at first: a
// datagram may be lost, and the machine be busy.
func (l *Lab) Reach(client *Client, e Endpoint) Fact {
	f := Fact{Client: client, Endpoint: e}
	var id string
	if id, f.Err = client.dial(e.Proto, e.At, Patience/2); f.Err != nil {
		id, f.Err = client.dial(e.Proto, e.At, Patience)
	}
	if f.Err == nil && id == e.Instance.Name {
		f.Reachable = true
	} else {
		f.Answered = id
	}
	return f
}

// inFlight bounds the dials at a time. Most of them wait for what was dropped.
const inFlight = 256

// Facts dials each endpoint from each client.
func (l *Lab) Facts(clients []*Client, endpoints []Endpoint) []Fact {
	facts := make([]Fact, len(clients)*len(endpoints))
	slots := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	for i, c := range clients {
		for j, e := range endpoints {
			slots <- struct{}{}
			wg.Go(func() {
				facts[i*len(endpoints)+j] = l.Reach(c, e)
				<-slots
			})
		}
	}
	wg.Wait()
	return facts
}

// Endpoints are all that a container could be dialled at, by anybody.
func (c *Container) Endpoints(t *testing.T) []Endpoint {
	t.Helper()
	var all []Endpoint
	node := c.Node.Addresses(t)
	for proto, ports := range map[string][]uint16{"tcp": c.Spec.TCP, "udp": c.Spec.UDP} {
		for _, port := range ports {
			e := Endpoint{Instance: c, Proto: proto, Port: port}
			all = append(all, e.atNetworks(c.owner())...)
			if c.Inspect.HostConfig.NetworkMode.IsHost() {
				e.Via = ViaNode
				all = append(all, e.atAll(node, port)...)
			}
			for _, p := range c.Published(proto, port) {
				e.Via, e.Bound = ViaPublished, p.Addr()
				all = append(all, e.atAll(bound(p.Addr(), node), p.Port())...)
			}
		}
	}
	slices.SortFunc(all, func(a, b Endpoint) int { return strings.Compare(a.String(), b.String()) })
	return slices.CompactFunc(all, func(a, b Endpoint) bool { return a.String() == b.String() })
}

// owner is whose network namespace the container is in.
func (c *Container) owner() *Container {
	id, joined := strings.CutPrefix(string(c.Inspect.HostConfig.NetworkMode), "container:")
	for _, o := range c.Node.containers {
		if joined && strings.HasPrefix(id, o.ID) {
			return o
		}
	}
	return c
}

func (e Endpoint) atNetworks(c *Container) (all []Endpoint) {
	for name, s := range c.Inspect.NetworkSettings.Networks {
		for _, a := range []string{s.IPAddress, s.GlobalIPv6Address} {
			if addr, err := netip.ParseAddr(a); err == nil {
				e.Via, e.Network = ViaContainer, name
				all = append(all, e.atAll([]netip.Addr{addr}, e.Port)...)
			}
		}
	}
	return all
}

func (e Endpoint) atAll(addrs []netip.Addr, port uint16) (all []Endpoint) {
	for _, a := range addrs {
		e.At = netip.AddrPortFrom(a, port)
		all = append(all, e)
	}
	return all
}

// bound are the addresses that a publication is at.
func bound(at netip.Addr, node []netip.Addr) []netip.Addr {
	if !at.IsUnspecified() {
		return []netip.Addr{at}
	}
	return slices.DeleteFunc(slices.Clone(node), func(a netip.Addr) bool { return a.Is4() != at.Is4() })
}

// View is what an agent on a host can know: what rules have to do with.
type View struct {
	Host *Host
	// Addresses are the machine's, Source is the one that its default route
	// sends from, and invalid without.
	Addresses []netip.Addr
	Source    netip.Addr
	Info      system.Info
	Networks  []network.Inspect
	// Containers are the running ones.
	Containers []container.InspectResponse
	// NAT is the packet filter's table of that name, as iptables-save has it.
	NAT string
}

// View looks at a host as an agent would.
func (h *Host) View(t *testing.T) View {
	t.Helper()
	ctx := t.Context()
	v := View{Host: h, Addresses: h.Addresses(t), Source: h.source(), NAT: h.IPTables(t, "nat")}
	info, err := h.Engine.Client.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v.Info = info
	networks, err := h.Engine.Client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		i, err := h.Engine.Client.NetworkInspect(ctx, n.ID, network.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v.Networks = append(v.Networks, i)
	}
	running, err := h.Engine.Client.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range running {
		i, err := h.Engine.Client.ContainerInspect(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		v.Containers = append(v.Containers, i)
	}
	return v
}
