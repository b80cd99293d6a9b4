package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"

	"github.com/rackdns/rackdns/internal/registry"
)

// Addresses for documentation: a socket that is connected there tells which
// address of this host the default route leaves by, and sends nothing.
var nowhere = []string{"203.0.113.1:9", "[2001:db8::1]:9"}

// errNoAddress says what to do about a host without a default route.
var errNoAddress = errors.New("this host has no default route to tell its address by: say which address others reach it by with --host-address")

// checkHostAddress checks the address that was configured, in the form in which
// the registry has it; none is fine.
func checkHostAddress(configured netip.Addr) (netip.Addr, error) {
	if !configured.IsValid() {
		return configured, nil
	}
	a := configured.Unmap()
	if why := badNodeAddress(a); why != "" {
		return netip.Addr{}, fmt.Errorf("host address %s: %s, so no other host can reach it", configured, why)
	}
	return a, nil
}

// routeAddress returns the address of this host that the default route leaves
// by, or errNoAddress.
func routeAddress() (netip.Addr, error) {
	for _, to := range nowhere {
		conn, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		local, ok := conn.LocalAddr().(*net.UDPAddr)
		if err := conn.Close(); err != nil || !ok {
			continue
		}
		if a := local.AddrPort().Addr().Unmap(); badNodeAddress(a) == "" {
			return a, nil
		}
	}
	return netip.Addr{}, errNoAddress
}

func badNodeAddress(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsUnspecified():
		return "is unspecified"
	case a.Zone() != "":
		return "has a zone"
	case !a.IsGlobalUnicast():
		return "is not a unicast address that a router knows"
	}
	return ""
}

// link is a network interface of this host with the addresses that others
// might know it by.
type link struct {
	name  string
	addrs []netip.Addr
	// subnets are those that its addresses are in, where there is room for
	// others.
	subnets []netip.Prefix
}

// links returns the host's interfaces that are up. An address of the loopback
// interface that others may know counts, too: routers lead to such.
func links() ([]link, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list this host's interfaces: %w", err)
	}
	var ls []link
	for _, iface := range ifaces {
		if iface.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := iface.Addrs()
		if err != nil {
			// It went away between the two calls.
			continue
		}
		l := link{name: iface.Name}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || badNodeAddress(p.Addr()) != "" {
				continue
			}
			l.addrs = append(l.addrs, p.Addr().Unmap())
			if !p.IsSingleIP() && iface.Flags&net.FlagLoopback == 0 {
				l.subnets = append(l.subnets, p.Masked())
			}
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// newHome returns the node as containers are published on it. Its address of
// the other IP family is one of the same interface: whoever chose an interface
// by its address didn't choose another by its family.
func newHome(node string, addr netip.Addr, ls []link) home {
	h := home{node: node, addr: addr}
	for _, l := range ls {
		if !slices.Contains(l.addrs, addr) {
			continue
		}
		for _, a := range l.addrs {
			if a.Is4() != addr.Is4() {
				h.other = a
				return h
			}
		}
	}
	return h
}

// bridges is what Docker put on this host for its networks.
type bridges struct {
	names    map[string]bool
	gateways map[netip.Addr]bool
	subnets  []subnet
	networks []registry.NodeNetwork
}

// subnet is one of a Docker network's, and the host's address in it.
type subnet struct {
	network string
	prefix  netip.Prefix
	gateway netip.Addr
}

// defaultBridge is the network that Docker makes by itself.
const defaultBridge = "bridge"

// dockerBridges asks the engine for its bridges.
func dockerBridges(ctx context.Context, e engine) (bridges, error) {
	b := bridges{names: map[string]bool{}, gateways: map[netip.Addr]bool{}}
	networks, err := e.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return b, fmt.Errorf("list the engine's networks: %w", err)
	}
	for _, n := range networks {
		if w, ok := nodeNetwork(&n); ok {
			b.networks = append(b.networks, w)
		}
		if n.Driver != driverBridge {
			continue
		}
		b.names["br-"+shortID(n.ID)] = true
		b.names[n.Options["com.docker.network.bridge.name"]] = true
		for _, c := range n.IPAM.Config {
			gateway, err := netip.ParseAddr(strings.Split(c.Gateway, "/")[0])
			if err == nil {
				b.gateways[gateway] = true
			}
			p, err := netip.ParsePrefix(c.Subnet)
			if err != nil {
				continue
			}
			if !gateway.IsValid() {
				// Where nobody chose one it is the first, and may be left out.
				gateway = p.Masked().Addr().Next()
			}
			b.subnets = append(b.subnets, subnet{n.Name, p, gateway})
		}
	}
	slices.SortFunc(b.networks, func(x, y registry.NodeNetwork) int { return strings.Compare(x.ID, y.ID) })
	b.sort()
	return b, nil
}

// sort puts Docker's own network first, and the addresses that everybody can
// use before others.
func (b *bridges) sort() {
	slices.SortFunc(b.subnets, func(x, y subnet) int {
		return cmp.Or(
			cmp.Compare(boolInt(x.network != defaultBridge), boolInt(y.network != defaultBridge)),
			cmp.Compare(boolInt(!x.gateway.Is4()), boolInt(!y.gateway.Is4())),
			strings.Compare(x.network, y.network),
		)
	})
}

// around returns the subnet that an address lies in.
func (b bridges) around(a netip.Addr) (subnet, bool) {
	n := slices.IndexFunc(b.subnets, func(s subnet) bool { return s.prefix.Contains(a) })
	if n < 0 {
		return subnet{}, false
	}
	return b.subnets[n], true
}

// anyBridge is the name of a bridge that an engine made, this one or another one
// on the same host.
var anyBridge = regexp.MustCompile(`^(docker0|docker_gwbridge|br-[0-9a-f]{12})$`)

func (b bridges) isBridge(l link) bool { return b.names[l.name] || anyBridge.MatchString(l.name) }

// has reports whether an address belongs to Docker's side of the host.
func (b bridges) has(l link, a netip.Addr) bool {
	return b.isBridge(l) || b.gateways[a]
}

// nodeAddresses returns all addresses that are the node itself, its own first.
// A bridge's gateway is not among them: containers whose traffic is masqueraded
// appear with it.
func nodeAddresses(h home, ls []link, b bridges) []netip.Addr {
	addrs := []netip.Addr{h.addr}
	if h.other.IsValid() {
		addrs = append(addrs, h.other)
	}
	for _, l := range ls {
		for _, a := range l.addrs {
			if !b.has(l, a) && !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// insideError says that the address that was found is a container's.
type insideError struct {
	addr    netip.Addr
	network string
}

// Error returns one line that says what to do.
func (e *insideError) Error() string {
	return fmt.Sprintf("address %s of the default route lies in Docker's network %q, as if the agent ran in a container: run it with --network host, or say with --host-address which address others reach the host by",
		e.addr, e.network)
}
