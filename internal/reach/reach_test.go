package reach

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(all ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range all {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// host is a node with two bridges, an internal one, a macvlan on its LAN, a VPN
// address and an overlay that another node has too.
func host(name, own string, change ...func(*Node)) *Node {
	const lan = "192.0.2.0/24"
	n := &Node{
		Name:      name,
		Addresses: []netip.Addr{addr(own), addr("fd00::2"), addr("100.64.0.7")},
		Links:     prefixes(lan, "fd00::/64", "100.64.0.7/32"),
		Networks: []Network{
			{ID: name + "-bridge", Name: "bridge", Driver: "bridge", Local: true, Subnets: prefixes("172.17.0.0/16"), Gateways: []netip.Addr{addr("172.17.0.1")}},
			{ID: name + "-blue", Name: "blue", Driver: "bridge", Local: true, Subnets: prefixes("172.18.0.0/16", "fd18::/64"), Gateways: []netip.Addr{addr("172.18.0.1")}},
			{ID: name + "-inner", Name: "inner", Driver: "bridge", Local: true, Internal: true, Subnets: prefixes("172.19.0.0/16"), Gateways: []netip.Addr{addr("172.19.0.1")}},
			{ID: name + "-lan", Name: "lan", Driver: "macvlan", Local: true, Subnets: prefixes(lan)},
			{ID: "over", Name: "over", Driver: "overlay", Subnets: prefixes("10.99.0.0/24")},
		},
	}
	for _, c := range change {
		c(n)
	}
	return n
}

// client is who asks the server on a node, in words.
func client(n *Node, what string) *Client {
	kind, where, _ := strings.Cut(what, " ")
	c := &Client{Node: n}
	switch kind {
	case "self":
		c.Kind = Self
	case "in": // a container on networks
		c.Kind = Container
		c.Networks = strings.Fields(where)
		c.Addr = addr("172.31.0.9")
	case "from":
		var w *Network
		c.Addr = addr(where)
		if c.Kind, w = Identify(n, c.Addr); w != nil {
			c.Networks = []string{w.ID}
		}
	default:
		panic(what)
	}
	return c
}

func on(network string, addrs ...string) Attachment {
	a := Attachment{Network: network, Local: network != "over"}
	for _, s := range addrs {
		if ip := addr(s); ip.Is4() {
			a.V4 = ip
		} else {
			a.V6 = ip
		}
	}
	return a
}

func port(number uint16, at ...string) Port {
	p := Port{Number: number, Protocol: TCP}
	for _, s := range at {
		p.Published = append(p.Published, netip.MustParseAddrPort(s))
	}
	return p
}

func meshed(number uint16, at string) Port {
	p := Port{Number: number, Protocol: TCP}
	p.Add(netip.MustParseAddrPort(at), true)
	return p
}

func udp(p Port) Port {
	p.Protocol = UDP
	return p
}

// told is what a client is told, in words: each target with its ports.
func told(targets []Target) string {
	var all []string
	for n := range targets {
		t := &targets[n]
		var ips, numbers []string
		for _, ip := range []netip.Addr{t.V4, t.V6} {
			if ip.IsValid() {
				ips = append(ips, ip.String())
			}
		}
		for _, p := range t.Ports {
			numbers = append(numbers, fmt.Sprint(p.Number))
		}
		all = append(all, strings.Join(ips, "|")+" "+strings.Join(numbers, ","))
	}
	return strings.Join(all, "; ")
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	n1 := host("n1", "192.0.2.2")
	n2 := host("n2", "192.0.2.3")
	filtered := host("n1", "192.0.2.2", func(n *Node) { n.Unproxied, n.NoIPv6NAT = true, true })
	engine27 := host("n1", "192.0.2.2", func(n *Node) { n.Unproxied = true })
	const stranger = "from 198.51.100.7"
	published := []Port{port(80, "192.0.2.2:8080", "[fd00::2]:8080")}
	for _, tc := range []struct {
		name, client string
		asked        *Node
		instance     Instance
		options      Options
		want         string
	}{
		{"shared bridge", "in n1-blue", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: published}, Options{}, "172.18.0.2 80; fd00::2 8080"},
		{"shared bridge, both families", "in n1-blue", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2", "fd18::2")}, Ports: published}, Options{}, "172.18.0.2|fd18::2 80"},
		{"shared overlay", "in over", n1, Instance{Node: n2, Attachments: []Attachment{on("over", "10.99.0.2")}, Ports: []Port{port(80)}}, Options{}, "10.99.0.2 80"},
		{"a local network of another node", "in n1-blue", n1, Instance{Node: n2, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"a cloned engine's network", "in n1-blue", n2, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"not told of yet, by its subnet", "from 172.18.0.77", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{}, "172.18.0.2 80"},
		{"hidden by a proxy", "from 172.18.0.1", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080")}}, Options{}, "192.0.2.2 8080"},

		{"published, stranger", stranger, n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published}, Options{}, "192.0.2.2|fd00::2 8080"},
		{"not published, stranger", stranger, n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80)}}, Options{}, ""},
		{
			"an address that means something in this host only", stranger, n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(81, "172.17.0.1:9001")}},
			Options{}, "192.0.2.2 8080",
		},
		{
			"the same for a container of the host", "in n1-blue", n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(81, "172.17.0.1:9001")}},
			Options{}, "192.0.2.2 8080; 172.17.0.1 9001",
		},
		{
			"the same for another host's container", "in n2-blue", n2,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(81, "172.17.0.1:9001")}},
			Options{}, "192.0.2.2 8080",
		},
		{
			"loopback is for the host itself", "self", n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80, "127.0.0.1:8080")}},
			Options{}, "127.0.0.1 8080",
		},
		{
			"loopback, a container", "in n1-blue", n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "127.0.0.1:8080")}},
			Options{}, "",
		},
		{
			"loopback is no other host's", "self", n2,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "127.0.0.1:8080")}},
			Options{}, "",
		},
		{
			"loopback is nobody's where no node is known", "self", n1,
			Instance{Limit: HostOnly, Ports: []Port{port(80, "127.0.0.1:8080")}}, Options{}, "",
		},
		{
			"an address of the few does not outvote the node's", stranger, n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(81, "100.64.0.7:9000"), port(82, "100.64.0.7:9002")}},
			Options{}, "192.0.2.2 8080; 100.64.0.7 9000,9002",
		},
		{
			"published at both, the node's own first", stranger, n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(81, "100.64.0.7:9000", "192.0.2.2:9000")}},
			Options{}, "192.0.2.2 9000",
		},
		{
			"two families, two ports", stranger, n1,
			Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:32768", "[fd00::2]:32769")}},
			Options{}, "192.0.2.2 32768; fd00::2 32769",
		},

		{"no proxy, another network of the host", "in n1-blue", filtered, Instance{Node: filtered, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published}, Options{}, ""},
		{"no proxy, the same network", "in n1-bridge", filtered, Instance{Node: filtered, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published[:1:1]}, Options{}, "172.17.0.2 80"},
		{"no proxy, the host", "self", filtered, Instance{Node: filtered, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080")}}, Options{}, "192.0.2.2 8080"},
		{"no proxy, another host", "in n2-blue", n2, Instance{Node: filtered, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080")}}, Options{}, "192.0.2.2 8080"},
		{"no proxy, by IPv6", stranger, filtered, Instance{Node: filtered, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published}, Options{}, "192.0.2.2 8080"},
		{"no proxy, by IPv6, which the packet filter leads", stranger, engine27, Instance{Node: engine27, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published}, Options{}, "192.0.2.2|fd00::2 8080"},
		{"no proxy, IPv6 loopback", "self", engine27, Instance{Node: engine27, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80, "127.0.0.1:8080", "[::1]:8080")}}, Options{}, "127.0.0.1 8080"},
		{"no proxy, host network, by IPv6", stranger, filtered, Instance{Node: filtered, Ports: []Port{port(80, "192.0.2.2:80", "[fd00::2]:80")}}, Options{}, "192.0.2.2|fd00::2 80"},
		{"no proxy, host network", "in n1-blue", filtered, Instance{Node: filtered, Ports: []Port{port(80, "192.0.2.2:80")}}, Options{}, "192.0.2.2 80"},
		{"udp between networks of a host", "in n1-blue", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{udp(port(53, "192.0.2.2:53"))}}, Options{}, ""},
		{"udp from elsewhere", "in n2-blue", n2, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{udp(port(53, "192.0.2.2:53"))}}, Options{}, "192.0.2.2 53"},

		{"internal client, published", "in n1-inner", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: published}, Options{}, ""},
		{"internal client, host network", "in n1-inner", n1, Instance{Node: n1, Ports: []Port{port(80, "192.0.2.2:80")}}, Options{}, "192.0.2.2 80"},
		{"internal client, host network elsewhere", "in n1-inner", n1, Instance{Node: n2, Ports: []Port{port(80, "192.0.2.3:80")}}, Options{}, ""},
		{"internal client, its network", "in n1-inner", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-inner", "172.19.0.2")}, Ports: []Port{port(80)}}, Options{}, "172.19.0.2 80"},
		{"internal client, routable", "in n1-inner", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80)}}, Options{Routable: []string{"bridge"}}, ""},
		{"internal and another network", "in n1-inner n1-blue", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080")}}, Options{}, "192.0.2.2 8080"},

		{"internal and an overlay, which has no way out then", "in n1-inner over", n1, Instance{Node: n2, Attachments: []Attachment{on("n2-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.3:8080")}}, Options{}, ""},
		{"an overlay", "in over", n1, Instance{Node: n2, Attachments: []Attachment{on("n2-bridge", "172.17.0.2")}, Ports: []Port{port(80, "192.0.2.3:8080")}}, Options{}, "192.0.2.3 8080"},
		{"the mesh, another network without a proxy", "in n1-blue", filtered, Instance{Node: filtered, Attachments: []Attachment{on("over", "10.99.0.2")}, Ports: []Port{meshed(80, "192.0.2.2:8085")}}, Options{}, "192.0.2.2 8085"},
		{"the mesh, from an internal network", "in n1-inner", n1, Instance{Node: n1, Ports: []Port{meshed(80, "192.0.2.2:8085")}}, Options{}, ""},
		{"no IPv6 on the client's network", "in n1-inner n1-bridge", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: published}, Options{}, "192.0.2.2 8080"},
		{"IPv6 on one of them", "in n1-blue n1-bridge", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-inner", "172.19.0.2")}, Ports: published}, Options{}, "192.0.2.2|fd00::2 8080"},
		{"published by the other family alone", "in n1-bridge", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80, "[fd00::2]:8080")}}, Options{}, ""},
		{"nothing known of a network", "in elsewhere", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: published}, Options{}, "192.0.2.2|fd00::2 8080"},

		{"macvlan, its host", "self", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"macvlan, the LAN", "from 192.0.2.50", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, "192.0.2.77 80"},
		{"macvlan, another host", "self", n2, Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, "192.0.2.77 80"},
		{"from a macvlan, its own host", "in n1-lan", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(81, "100.64.0.7:9000"), port(82, "172.17.0.1:9001")}}, Options{}, ""},
		{"from a macvlan, its own host's network", "in n1-lan", n1, Instance{Node: n1, Ports: []Port{port(80, "192.0.2.2:80")}}, Options{}, ""},
		{"from a macvlan and a bridge, its own host", "in n1-lan n1-bridge", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080"), port(82, "172.17.0.1:9001")}}, Options{}, "172.17.0.1 9001"},
		{"from a macvlan, another host", "in n1-lan", n1, Instance{Node: n2, Attachments: []Attachment{on("n2-blue", "172.18.0.2")}, Ports: []Port{port(80, "192.0.2.3:8080")}}, Options{}, "192.0.2.3 8080"},
		{"from a macvlan, one on it", "in n1-lan", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, "192.0.2.77 80"},
		{"from a macvlan, another host's", "in n1-lan", n1, Instance{Node: n2, Attachments: []Attachment{on("n2-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, "192.0.2.77 80"},
		{"macvlan, stranger", stranger, n1, Instance{Node: n1, Attachments: []Attachment{on("n1-lan", "192.0.2.77")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"bridge, its host", "self", n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{}, "172.18.0.2 80"},
		{"bridge, another host", "self", n2, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"overlay, its host", "self", n1, Instance{Node: n1, Attachments: []Attachment{on("over", "10.99.0.2")}, Ports: []Port{port(80)}}, Options{}, ""},
		{"routable by name", stranger, n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80)}}, Options{Routable: []string{"blue"}}, "172.18.0.2 80"},

		{"limited to the host", "in n1-blue", n1, Instance{Node: n1, Limit: HostOnly, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: []Port{port(80, "192.0.2.2:8080")}}, Options{}, "192.0.2.2 8080"},
		{"limited to the container", stranger, n1, Instance{Node: n1, Attachments: []Attachment{on("n1-blue", "172.18.0.2")}, Ports: published}, Options{Limit: ContainerOnly}, "172.18.0.2 80"},
		{"registered by hand", stranger, n1, Instance{Limit: HostOnly, Ports: []Port{port(80, "10.0.5.1:80")}}, Options{}, "10.0.5.1 80"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := told(Targets(Evaluate(client(tc.asked, tc.client), &tc.instance, &tc.options))); got != tc.want {
				t.Errorf("told %q, want %q", got, tc.want)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	n := host("n1", "192.0.2.2")
	for from, want := range map[string]string{
		"127.0.0.1": "node", "::1": "node", "192.0.2.2": "node", "fd00::2": "node",
		"172.18.0.1": "hidden", "172.18.0.5": "on network n1-blue", "fd18::5": "on network n1-blue", "10.99.0.5": "on network over",
		"192.0.2.77": "on link", "fd00::77": "on link",
		"198.51.100.7": "unknown", "172.20.0.5": "unknown",
	} {
		kind, w := Identify(n, addr(from))
		got := kind.String()
		if w != nil {
			got += " " + w.ID
		}
		if got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{"100.64.0.7": "100-64-0-7", "fd00::2": "fd00--2", "::5": "0--5", "fd00::": "fd00--0"} {
		tg := Target{V4: addr(ip)}
		if got := tg.Label(); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}
