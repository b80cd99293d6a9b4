package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// portLabel is the prefix of the labels that list, name and leave out ports.
const portLabel = "rackdns.port."

// ports returns the container's ports, named and sorted, with their bindings.
func (d *decision) ports() []registry.Port {
	labelled := d.labelledPorts()
	keys := map[portKey]bool{}
	for _, p := range d.facts.exposed {
		keys[p] = true
	}
	for p := range d.facts.published {
		keys[p] = true
	}
	for p := range d.facts.mesh.ports {
		keys[p] = true
	}
	for p := range labelled {
		keys[p] = true
	}
	ports := make([]registry.Port, 0, len(keys))
	for key := range keys {
		name, listed := d.portName(key, labelled)
		if listed {
			ports = append(ports, registry.Port{
				Name:      name,
				Protocol:  key.protocol,
				Container: key.number,
				Bindings:  []registry.Binding{},
			})
		}
	}
	slices.SortFunc(ports, comparePorts)
	if len(ports) > maxPorts {
		ports = d.fewerPorts(ports)
	}
	d.bind(ports)
	return ports
}

// fewerPorts keeps the ports that somebody named, then the lowest. A container
// that publishes a range of ten thousand is still a service with an address.
func (d *decision) fewerPorts(ports []registry.Port) []registry.Port {
	d.note("%d ports: only %d are registered, those with a name first", len(ports), maxPorts)
	slices.SortStableFunc(ports, func(a, b registry.Port) int {
		return cmp.Compare(boolInt(a.Name == ""), boolInt(b.Name == ""))
	})
	ports = ports[:maxPorts]
	slices.SortFunc(ports, comparePorts)
	return ports
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func comparePorts(a, b registry.Port) int {
	return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Protocol, b.Protocol))
}

// labelledPorts reads the labels that speak of ports.
func (d *decision) labelledPorts() map[portKey]string {
	ports := map[portKey]string{}
	for _, rest := range withPrefix(d.facts.labels, portLabel) {
		label := portLabel + rest
		key, ok := parsePort(rest)
		if !ok {
			d.note("label %s: not a port such as %s80 or %s53/udp; not counted", printable(label), portLabel, portLabel)
			continue
		}
		ports[key] = d.facts.labels[label]
	}
	return ports
}

// portName returns the name of a port, or false if it is to be left out.
func (d *decision) portName(key portKey, labelled map[portKey]string) (name string, listed bool) {
	if v, _ := d.registrator(fmt.Sprintf("SERVICE_%d_IGNORE", key.number)); v != "" && labelled[key] == "" {
		return "", false
	}
	value, source := labelled[key], fmt.Sprintf("label %s%s", portLabel, key)
	if strings.EqualFold(value, "ignore") {
		return "", false
	}
	if value == "" {
		value, source = d.registrator(fmt.Sprintf("SERVICE_%d_NAME", key.number))
	}
	if value == "" {
		return "", true
	}
	name = toLabel(value)
	if err := registry.CheckPortName("name", name); err != nil {
		d.note("%s=%s: can't name a port: %s; it is listed without a name", source, registry.Quote(value), err)
		return "", true
	}
	d.choose("port "+key.String(), name, source)
	return name, true
}

// bind adds the bindings to ports. A container that shares the network of
// another has that one's.
func (d *decision) bind(ports []registry.Port) {
	owner := d.facts.owner()
	switch {
	case owner == nil:
		return
	case owner.mode == modeHost:
		// Whatever the container listens on, it listens on the node itself.
		for n := range ports {
			for _, ip := range []netip.Addr{d.home.addr, d.home.other} {
				if ip.IsValid() {
					ports[n].Bindings = append(ports[n].Bindings, registry.Binding{IP: ip, Port: ports[n].Container})
				}
			}
		}
		return
	}
	published := owner.published
	specific := specificAddrs(published)
	for n := range ports {
		p := &ports[n]
		key := portKey{p.Container, p.Protocol}
		for _, hp := range published[key] {
			if hp.ip.IsLoopback() {
				p.Loopback = append(p.Loopback, registry.Binding{IP: hp.ip, Port: hp.port})
				continue
			}
			p.Bindings = append(p.Bindings, d.bindings(key, hp, specific)...)
		}
		if at := d.home.of(netip.IPv4Unspecified()); at.IsValid() && owner.mesh.ports[key] != 0 {
			// The mesh has no IPv6.
			p.Bindings = append(p.Bindings, registry.Binding{IP: at, Port: owner.mesh.ports[key], Mesh: true})
		}
		p.Bindings, p.Loopback = sortBindings(p.Bindings, d.home), sortBindings(p.Loopback, d.home)
	}
}

// specificAddrs returns the addresses, other than any and loopback, that some
// port is bound to: they are the node's, so ports bound to any address are
// reachable there too.
func specificAddrs(published map[portKey][]hostPort) []netip.Addr {
	var addrs []netip.Addr
	for _, hps := range published {
		for _, hp := range hps {
			if !hp.ip.IsUnspecified() && !hp.ip.IsLoopback() && meansSomething(hp.ip) && !slices.Contains(addrs, hp.ip) {
				addrs = append(addrs, hp.ip)
			}
		}
	}
	return addrs
}

// meansSomething reports whether others can use an address of this node.
func meansSomething(ip netip.Addr) bool {
	return ip.Zone() == "" && !ip.IsMulticast() && (ip.Is4() || !ip.IsLinkLocalUnicast())
}

// bindings returns where others reach one publication of a port, which is none of
// loopback's.
func (d *decision) bindings(key portKey, hp hostPort, specific []netip.Addr) []registry.Binding {
	if !hp.ip.IsUnspecified() {
		if !meansSomething(hp.ip) {
			d.note("port %s: published on %s, which means nothing to others", key, hp.ip)
			return nil
		}
		return []registry.Binding{{IP: hp.ip, Port: hp.port}}
	}
	var bs []registry.Binding
	if own := d.home.of(hp.ip); own.IsValid() {
		bs = append(bs, registry.Binding{IP: own, Port: hp.port})
	}
	for _, ip := range specific {
		if ip.Is4() == hp.ip.Is4() {
			bs = append(bs, registry.Binding{IP: ip, Port: hp.port})
		}
	}
	return bs
}

// sortBindings puts the node's own address first, then the others by family
// and number, each once. An engine lists them in any order, and 0.0.0.0 beside
// the node's own address is one binding.
func sortBindings(bs []registry.Binding, h home) []registry.Binding {
	slices.SortFunc(bs, func(a, b registry.Binding) int {
		return cmp.Or(
			cmp.Compare(boolInt(a.IP != h.addr), boolInt(b.IP != h.addr)),
			a.IP.Compare(b.IP),
			cmp.Compare(a.Port, b.Port),
			cmp.Compare(boolInt(a.Mesh), boolInt(b.Mesh)),
		)
	})
	return slices.Compact(bs)
}
