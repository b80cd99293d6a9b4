package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/registry"
)

var cmpAddr = cmpopts.EquateComparable(netip.Addr{})

// line writes a port as "3000/tcp http 10.0.2.10:47889 ...".
func line(p registry.Port) string {
	s := fmt.Sprintf("%d/%s", p.Container, p.Protocol)
	if p.Name != "" {
		s += " " + p.Name
	}
	for _, b := range slices.Concat(p.Bindings, p.Loopback) {
		s += " " + netip.AddrPortFrom(b.IP, b.Port).String()
	}
	return s
}

func lines(ports []registry.Port) []string {
	ls := []string{}
	for _, p := range ports {
		ls = append(ls, line(p))
	}
	return ls
}

func hostPorts(ss ...string) []hostPort {
	var hps []hostPort
	for _, s := range ss {
		ap := netip.MustParseAddrPort(s)
		hps = append(hps, hostPort{ap.Addr(), ap.Port()})
	}
	return hps
}

func TestPorts(t *testing.T) {
	v6 := home{node: "node-1", addr: testHost, other: netip.MustParseAddr("fd00::10")}
	only6 := home{node: "node-1", addr: netip.MustParseAddr("fd00::10")}
	type published = map[portKey][]hostPort
	tests := []struct {
		name      string
		home      home
		mode      string
		exposed   []portKey
		published published
		labels    labels
		env       map[string]string
		mesh      map[portKey]uint16
		want      []string
		note      string
	}{
		{name: "none", want: []string{}},
		{name: "exposed", exposed: []portKey{{3000, "tcp"}}, want: []string{"3000/tcp"}},
		{name: "published", exposed: []portKey{{3000, "tcp"}}, published: published{{3000, "tcp"}: hostPorts("0.0.0.0:47889")},
			want: []string{"3000/tcp 10.0.2.10:47889"}},
		{name: "exposed beside published, sorted", exposed: []portKey{{9000, "tcp"}, {80, "tcp"}, {443, "tcp"}},
			published: published{{443, "tcp"}: hostPorts("0.0.0.0:8443"), {80, "tcp"}: nil}, want: []string{"80/tcp", "443/tcp 10.0.2.10:8443", "9000/tcp"}},
		{name: "tcp and udp on one number", exposed: []portKey{{53, "udp"}, {53, "tcp"}},
			published: published{{53, "udp"}: hostPorts("0.0.0.0:1053"), {53, "tcp"}: hostPorts("0.0.0.0:2053")},
			want:      []string{"53/tcp 10.0.2.10:2053", "53/udp 10.0.2.10:1053"}},
		{name: "tcp and udp named apart", exposed: []portKey{{53, "udp"}, {53, "tcp"}},
			labels: labels{"rackdns.port.53": "dns-tcp", "rackdns.port.53/udp": "dns"}, want: []string{"53/tcp dns-tcp", "53/udp dns"}},
		{name: "one published twice", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8081", "0.0.0.0:8080")},
			want: []string{"80/tcp 10.0.2.10:8080 10.0.2.10:8081"}},

		// addresses
		{name: "twins without IPv6", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080", "[::]:8080")}, want: []string{"80/tcp 10.0.2.10:8080"}},
		{name: "twins with IPv6", home: v6, published: published{{80, "tcp"}: hostPorts("[::]:8080", "0.0.0.0:8080")},
			want: []string{"80/tcp 10.0.2.10:8080 [fd00::10]:8080"}},
		{name: "twins with different ports", home: v6, published: published{{80, "tcp"}: hostPorts("0.0.0.0:49153", "[::]:49154")},
			want: []string{"80/tcp 10.0.2.10:49153 [fd00::10]:49154"}},
		{name: "IPv6 only", home: only6, published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080", "[::]:8080")}, want: []string{"80/tcp [fd00::10]:8080"}},
		{name: "specific", published: published{{80, "tcp"}: hostPorts("10.0.9.9:8080")}, want: []string{"80/tcp 10.0.9.9:8080"}},
		{name: "specific IPv6", published: published{{80, "tcp"}: hostPorts("[fd00::99]:8080")}, want: []string{"80/tcp [fd00::99]:8080"}},
		{name: "any beside specific", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080"), {443, "tcp"}: hostPorts("10.0.9.9:8443")},
			want: []string{"80/tcp 10.0.2.10:8080 10.0.9.9:8080", "443/tcp 10.0.9.9:8443"}},
		{name: "any beside specific of the other family", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080"), {443, "tcp"}: hostPorts("[fd00::99]:8443")},
			want: []string{"80/tcp 10.0.2.10:8080", "443/tcp [fd00::99]:8443"}},
		{name: "any beside the node's own", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080"), {443, "tcp"}: hostPorts("10.0.2.10:8443")},
			want: []string{"80/tcp 10.0.2.10:8080", "443/tcp 10.0.2.10:8443"}},
		{name: "loopback stays", published: published{{80, "tcp"}: hostPorts("127.0.0.1:8080"), {81, "tcp"}: hostPorts("[::1]:8081")},
			want: []string{"80/tcp 127.0.0.1:8080", "81/tcp [::1]:8081"}},
		{name: "loopback is no specific address", published: published{{80, "tcp"}: hostPorts("0.0.0.0:8080"), {81, "tcp"}: hostPorts("127.0.0.1:8081")},
			want: []string{"80/tcp 10.0.2.10:8080", "81/tcp 127.0.0.1:8081"}},
		{name: "link-local", published: published{{80, "tcp"}: hostPorts("[fe80::1]:8080")}, want: []string{"80/tcp"}, note: "means nothing to others"},

		{name: "swarm's mesh", mesh: map[portKey]uint16{{80, "tcp"}: 8085}, published: published{{81, "tcp"}: hostPorts("0.0.0.0:8081")},
			want: []string{"80/tcp 10.0.2.10:8085", "81/tcp 10.0.2.10:8081"}},
		{name: "swarm's mesh, which has no IPv6", home: only6, mesh: map[portKey]uint16{{80, "tcp"}: 8085}, want: []string{"80/tcp"}},

		// names
		{name: "named", exposed: []portKey{{3000, "tcp"}}, labels: labels{"rackdns.port.3000": "http"}, want: []string{"3000/tcp http"}},
		{name: "named with its protocol", exposed: []portKey{{3000, "tcp"}}, labels: labels{"rackdns.port.3000/TCP": "HTTP_alt"}, want: []string{"3000/tcp http-alt"}},
		{name: "only a label lists it", labels: labels{"rackdns.port.3000": "http", "rackdns.port.4000/udp": ""}, want: []string{"3000/tcp http", "4000/udp"}},
		{name: "ignored", exposed: []portKey{{3000, "tcp"}, {9000, "tcp"}}, labels: labels{"rackdns.port.9000": "Ignore"}, want: []string{"3000/tcp"}},
		{name: "ignored of one protocol", exposed: []portKey{{53, "tcp"}, {53, "udp"}}, labels: labels{"rackdns.port.53": "ignore"}, want: []string{"53/udp"}},
		{name: "bad name", exposed: []portKey{{3000, "tcp"}}, labels: labels{"rackdns.port.3000": "h t t p"}, want: []string{"3000/tcp"}, note: `rackdns.port.3000/tcp="h t t p"`},
		{name: "bad port", exposed: []portKey{{3000, "tcp"}}, labels: labels{"rackdns.port.http": "3000", "rackdns.port.70000": "x", "rackdns.port.0": "x", "rackdns.port.1/sctp": "x"},
			want: []string{"3000/tcp"}, note: "label rackdns.port.http: not a port"},
		{name: "registrator's name", exposed: []portKey{{3000, "tcp"}, {4000, "tcp"}}, env: labels{"SERVICE_3000_NAME": "http"},
			want: []string{"3000/tcp http", "4000/tcp"}},
		{name: "our name before registrator's", exposed: []portKey{{3000, "tcp"}}, labels: labels{"rackdns.port.3000": "web"}, env: labels{"SERVICE_3000_NAME": "http"},
			want: []string{"3000/tcp web"}},
		{name: "registrator ignores a port", exposed: []portKey{{3000, "tcp"}, {4000, "tcp"}}, env: labels{"SERVICE_4000_IGNORE": "1"}, want: []string{"3000/tcp"}},

		// modes
		{name: "host", mode: modeHost, exposed: []portKey{{8080, "tcp"}}, labels: labels{"rackdns.port.53/udp": "dns"},
			want: []string{"53/udp dns 10.0.2.10:53", "8080/tcp 10.0.2.10:8080"}},
		{name: "host, of both families", mode: modeHost, exposed: []portKey{{8080, "tcp"}},
			home: home{node: "node-1", addr: testHost, other: netip.MustParseAddr("fd00::2")},
			want: []string{"8080/tcp 10.0.2.10:8080 [fd00::2]:8080"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.home
			if h.node == "" {
				h = testHome
			}
			f := labelled(tt.labels)
			f.env, f.exposed, f.published, f.mesh.ports = tt.env, tt.exposed, tt.published, tt.mesh
			if tt.mode != "" {
				f.mode = tt.mode
			}
			d := decide(f, h)
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if diff := cmp.Diff(tt.want, lines(d.instance.Ports)); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			if all := strings.Join(d.remarks(), "\n"); !strings.Contains(all, tt.note) {
				t.Errorf("notes %q don't say %q", all, tt.note)
			}
		})
	}
}

// A range of ports for media must not cost the service its name.
func TestTooManyPorts(t *testing.T) {
	f := labelled(labels{"rackdns.port.19999/udp": "control"})
	f.published = map[portKey][]hostPort{}
	for n := uint16(10000); n < 20000; n++ {
		f.published[portKey{n, "udp"}] = []hostPort{{netip.IPv4Unspecified(), n}}
	}
	d := decide(f, testHome)
	if d.refusal != nil {
		t.Fatalf("refused: %+v", d.refusal)
	}
	ports := d.instance.Ports
	if len(ports) != maxPorts || ports[0].Container != 10000 || line(ports[maxPorts-1]) != "19999/udp control 10.0.2.10:19999" {
		t.Errorf("%d ports, %s to %s", len(ports), line(ports[0]), line(ports[len(ports)-1]))
	}
	if !strings.Contains(strings.Join(d.remarks(), "\n"), "10000 ports: only 256") {
		t.Errorf("notes = %q", d.remarks())
	}
}
