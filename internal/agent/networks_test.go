package agent

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

func att(name string, priority int, addrs ...string) attachment {
	a := attachment{name: name, id: fmt.Sprintf("%-16x", name)[:16], scope: "local", priority: priority}
	for _, s := range addrs {
		if ip := netip.MustParseAddr(s); ip.Is4() {
			a.ipv4 = ip
		} else {
			a.ipv6 = ip
		}
	}
	return a
}

func networkLines(i *registry.Instance) []string {
	ls := []string{}
	for _, n := range i.Networks {
		s := n.Name
		for _, a := range []netip.Addr{n.IPv4, n.IPv6} {
			if a.IsValid() {
				s += " " + a.String()
			}
		}
		ls = append(ls, s)
	}
	return ls
}

func TestNetworks(t *testing.T) {
	overlay := att("ingress", 9, "10.0.0.5")
	overlay.scope = "swarm"
	xStopped := plain(func(f *facts) { f.name, f.status = "x", "exited" })
	xNewer := plain(func(f *facts) { f.name, f.started = "x", testStart.Add(time.Second) })
	xOlder := plain(func(f *facts) {
		f.name, f.started = "x", testStart.Add(-time.Second)
		f.attachments = []attachment{att("own", 0, "172.20.0.7")}
		f.published = map[portKey][]hostPort{{80, "tcp"}: hostPorts("0.0.0.0:8080"), {81, "tcp"}: hostPorts("0.0.0.0:8081")}
	})
	xHost := plain(func(f *facts) {
		f.name, f.started, f.mode, f.attachments = "x", testStart.Add(-time.Second), modeHost, nil
	})
	chained := plain(func(f *facts) {
		f.name, f.mode, f.joins, f.joined, f.attachments = "y", "container:x", "x", xOlder, nil
	})
	join := func(x *facts) func(*facts) {
		return func(f *facts) {
			f.mode, f.joins, f.joined, f.attachments = "container:x", "x", x, nil
			f.exposed = []portKey{{80, "tcp"}}
		}
	}
	tests := []struct {
		name   string
		mode   string
		nets   []attachment
		labels labels
		change func(*facts)
		want   []string
		// ports are those expected, if the case is about them.
		ports   []string
		refused Reason
		says    string
		// noted is a part of the remarks.
		noted string
	}{
		{name: "one", nets: []attachment{att("bridge", 0, "172.17.0.2")}, want: []string{"bridge 172.17.0.2"}},
		{name: "both families", nets: []attachment{att("bridge", 0, "172.17.0.2", "fd01::2")}, want: []string{"bridge 172.17.0.2 fd01::2"}},
		{name: "IPv6 only", nets: []attachment{att("bridge", 0, "fd01::2")}, want: []string{"bridge fd01::2"}},
		{name: "by name", mode: "other", nets: []attachment{att("b", 0, "10.2.0.1"), att("c", 0, "10.3.0.1"), att("a", 0, "10.1.0.1")},
			want: []string{"a 10.1.0.1", "b 10.2.0.1", "c 10.3.0.1"}},
		{name: "by gateway priority", mode: "other", nets: []attachment{att("a", 0, "10.1.0.1"), att("b", 10, "10.2.0.1"), att("c", -1, "10.3.0.1")},
			want: []string{"b 10.2.0.1", "a 10.1.0.1", "c 10.3.0.1"}},
		{name: "the mode's first", mode: "c", nets: []attachment{att("a", 0, "10.1.0.1"), att("b", 10, "10.2.0.1"), att("c", 0, "10.3.0.1")},
			want: []string{"c 10.3.0.1", "b 10.2.0.1", "a 10.1.0.1"}},
		{name: "the mode's by ID", mode: att("c", 0).id, nets: []attachment{att("a", 0, "10.1.0.1"), att("c", 0, "10.3.0.1")},
			want: []string{"c 10.3.0.1", "a 10.1.0.1"}},
		{name: "labelled", nets: []attachment{att("a", 0, "10.1.0.1"), att("b", 0, "10.2.0.1")}, labels: labels{"rackdns.network": "b"},
			want: []string{"b 10.2.0.1"}},
		{name: "labelled by Compose's short name", nets: []attachment{att("shop_a", 0, "10.1.0.1"), att("shop_b", 0, "10.2.0.1")},
			labels: labels{"rackdns.network": "b", "com.docker.compose.project": "shop"}, want: []string{"shop_b 10.2.0.1"}},
		{name: "labelled, but not on it", nets: []attachment{att("a", 0, "10.1.0.1")}, labels: labels{"rackdns.network": "b"},
			refused: ReasonNoNetwork, says: "only on a"},
		{name: "labelled, not on it, published", nets: []attachment{att("a", 0, "10.1.0.1")}, labels: labels{"rackdns.network": "b"},
			change: func(f *facts) { f.published = map[portKey][]hostPort{{80, "tcp"}: hostPorts("0.0.0.0:8080")} }, want: []string{"a"}},
		{name: "ingress is left out", nets: []attachment{overlay, att("a", 0, "10.1.0.1")}, want: []string{"a 10.1.0.1"}, noted: "routing mesh"},
		{name: "link-local addresses are left out", nets: []attachment{att("a", 0, "169.254.0.3"), att("b", 0, "10.2.0.1", "fe80::3")}, want: []string{"b 10.2.0.1"}},
		{name: "none", mode: modeNone, refused: ReasonNoNetwork, says: "network mode is none"},
		{name: "disconnected from all", mode: "a", refused: ReasonNoNetwork, says: "on no network"},
		{name: "host", mode: modeHost, want: []string{}},

		{name: "of another container", change: join(xOlder), want: []string{"own 172.20.0.7"}, ports: []string{"80/tcp 10.0.2.10:8080"}},
		{name: "of one in host mode", change: join(xHost), want: []string{}, ports: []string{"80/tcp 10.0.2.10:80"}},
		{name: "of one that shares another's", change: join(chained), want: []string{"own 172.20.0.7"}, ports: []string{"80/tcp 10.0.2.10:8080"}},
		{name: "of one that stopped", change: join(xStopped), refused: ReasonJoined, says: `x, whose network it shares, is not running but "exited"`},
		{name: "of one that restarted", change: join(xNewer), refused: ReasonJoined, says: "old, dead network"},
		{name: "of one that is gone", change: join(nil), refused: ReasonJoined, says: "is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := labelled(tt.labels)
			f.attachments = tt.nets
			if tt.mode != "" {
				f.mode = tt.mode
			}
			if tt.change != nil {
				tt.change(f)
			}
			if f.isMeshed() {
				f.mesh = mesh{unknown: errWorker}
			}
			// Whatever order the engine lists them in.
			rand.Shuffle(len(f.attachments), func(i, j int) {
				f.attachments[i], f.attachments[j] = f.attachments[j], f.attachments[i]
			})
			d := decide(f, testHome)
			if tt.refused != "" {
				if d.refusal == nil || d.refusal.Reason != tt.refused || !strings.Contains(d.refusal.Detail, tt.says) {
					t.Fatalf("refusal = %+v, want %s that says %q", d.refusal, tt.refused, tt.says)
				}
				return
			}
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if notes := strings.Join(d.remarks(), "\n"); !strings.Contains(notes, tt.noted) {
				t.Errorf("remarks %q, want %q", notes, tt.noted)
			}
			if diff := cmp.Diff(tt.want, networkLines(d.instance)); diff != "" {
				t.Errorf("networks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.ports, lines(d.instance.Ports)); tt.ports != nil && diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHome(t *testing.T) {
	ip := netip.MustParseAddr
	ls := []link{
		{name: "eth0", addrs: []netip.Addr{ip("10.0.2.10"), ip("fd00::10")}},
		{name: "eth1", addrs: []netip.Addr{ip("192.168.7.1"), ip("fd07::1")}},
		{name: "docker0", addrs: []netip.Addr{ip("172.17.0.1")}},
		{name: "br-0123456789ab", addrs: []netip.Addr{ip("172.18.0.1")}},
	}
	b := bridges{
		names:    map[string]bool{"docker0": true},
		gateways: map[netip.Addr]bool{ip("172.18.0.1"): true},
	}
	tests := []struct {
		name, addr, other string
		want              string
	}{
		{"first interface", "10.0.2.10", "fd00::10", "10.0.2.10 fd00::10 192.168.7.1 fd07::1"},
		{"second interface", "192.168.7.1", "fd07::1", "192.168.7.1 fd07::1 10.0.2.10 fd00::10"},
		{"IPv6", "fd00::10", "10.0.2.10", "fd00::10 10.0.2.10 192.168.7.1 fd07::1"},
		{"an address that is translated on the way", "203.0.113.7", "", "203.0.113.7 10.0.2.10 fd00::10 192.168.7.1 fd07::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome("n", ip(tt.addr), ls)
			other := ""
			if h.other.IsValid() {
				other = h.other.String()
			}
			if other != tt.other {
				t.Errorf("other = %s, want %s", other, tt.other)
			}
			if got := strings.Trim(fmt.Sprint(nodeAddresses(h, ls, b)), "[]"); got != tt.want {
				t.Errorf("addresses = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNodeAddress(t *testing.T) {
	for _, bad := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "fe80::1", "224.0.0.1", "::ffff:127.0.0.1"} {
		if a, err := checkHostAddress(netip.MustParseAddr(bad)); err == nil {
			t.Errorf("%s is taken as %s", bad, a)
		}
	}
	if a, err := checkHostAddress(netip.MustParseAddr("::ffff:10.0.2.10")); err != nil || a != testHost {
		t.Errorf("%s, %v", a, err)
	}
	switch a, err := routeAddress(); {
	case err != nil:
		t.Skipf("no default route here: %v", err)
	case a.IsLoopback() || !a.IsGlobalUnicast():
		t.Errorf("default route's address is %s", a)
	}
}
