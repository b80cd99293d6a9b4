package agent

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// Whoever isn't told is known all the same when it asks, as a container of its
// app where its labels say which that is.
func TestHidden(t *testing.T) {
	ip := netip.MustParseAddr
	shop := labels{"com.docker.compose.project": "shop", "com.docker.compose.service": "job"}
	with := func(more labels) labels {
		all := labels{}
		for _, of := range []labels{shop, more} {
			for k, v := range of {
				all[k] = v
			}
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		labels labels
		change func(*facts)
		// want is the app and service, " " for neither, "" if nothing is
		// registered.
		want  string
		asks  []string
		guest string
	}{
		{name: "one-off", labels: with(labels{"com.docker.compose.oneoff": "True"}), want: "shop job"},
		{name: "ignored", labels: with(labels{"rackdns.ignore": "true"}), want: "shop job"},
		{name: "a service that is no label", labels: with(labels{"com.docker.compose.service": "größer"}), want: "shop "},
		{name: "an app that is no label", labels: labels{"rackdns.app": "größer"}, want: " "},
		{name: "its image is gone", labels: shop, change: func(f *facts) { f.imageGone = true }, want: " "},
		{name: "a container that is told", labels: shop},
		{name: "without a network", labels: labels{"rackdns.ignore": "true"}, change: func(f *facts) { f.mode, f.attachments = modeNone, nil }},
		{name: "in the node's network", labels: labels{"rackdns.ignore": "true"}, change: func(f *facts) { f.mode, f.attachments = modeHost, nil }},
		{name: "not running", labels: shop, change: func(f *facts) { f.status = "exited" }},
		{
			name: "on an overlay", labels: with(labels{"rackdns.ignore": "true"}), change: func(f *facts) { f.gateway = ip("172.29.0.3") },
			want: "shop job", asks: []string{"172.29.0.3"},
		},
		{
			name: "in another's namespace", labels: with(labels{"rackdns.ignore": "true"}), want: "shop job", guest: "9a0b1c2d3e4f",
			change: func(f *facts) {
				owner := *f
				owner.id = "9a0b1c2d3e4f5a6b"
				f.joins, f.joined, f.mode = owner.id, &owner, "container:"+owner.id
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := labelled(tt.labels)
			if tt.change != nil {
				tt.change(f)
			}
			i := decide(f, testHome).hidden
			if i == nil {
				if tt.want != "" {
					t.Fatal("nothing is registered")
				}
				return
			}
			if got := i.App + " " + i.Service; got != tt.want || !i.Hidden || i.NetworkOf != tt.guest || i.Serving() {
				t.Errorf("registered as %q: %+v", got, i)
			}
			var asks []string
			for _, a := range i.AsksFrom {
				asks = append(asks, a.String())
			}
			if diff := cmp.Diff(tt.asks, asks); diff != "" {
				t.Errorf("asks from (-want +got):\n%s", diff)
			}
			if _, err := registry.Encode(i); err != nil {
				t.Error(err)
			}
		})
	}
}

// A label that chooses by which network others reach it takes none away by which
// it asks.
func TestAsksByAllNetworks(t *testing.T) {
	f := labelled(labels{"rackdns.network": "bridge"})
	f.attachments = append(f.attachments, attachment{name: "other", id: "0123456789abcdef", scope: "local", ipv4: netip.MustParseAddr("172.30.0.9")})
	d := decide(f, testHome)
	if d.instance == nil || len(d.instance.Networks) != 1 || len(d.instance.AsksFrom) != 1 || d.instance.AsksFrom[0].String() != "172.30.0.9" {
		t.Errorf("%+v", d.instance)
	}
}

func TestNodeNetwork(t *testing.T) {
	ipam := func(c ...network.IPAMConfig) network.IPAM { return network.IPAM{Config: c} }
	ip, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for _, tt := range []struct {
		name string
		in   network.Summary
		want *registry.NodeNetwork
	}{
		{"bridge", network.Summary{ID: "5f1c7d2e8a90bb", Name: "n", Driver: "bridge", Scope: "local", IPAM: ipam(
			network.IPAMConfig{Subnet: "172.18.0.0/16", Gateway: "172.18.0.1"}, network.IPAMConfig{Subnet: "fd00:1::/64", Gateway: "fd00:1::1/64"})},
			&registry.NodeNetwork{
				ID: "5f1c7d2e8a90", Name: "n", Driver: "bridge", Scope: "local",
				Subnets:  []netip.Prefix{prefix("172.18.0.0/16"), prefix("fd00:1::/64")},
				Gateways: []netip.Addr{ip("172.18.0.1"), ip("fd00:1::1")},
			}},
		{"a gateway that nobody chose", network.Summary{ID: "a", Driver: "bridge", Scope: "local", Internal: true, IPAM: ipam(network.IPAMConfig{Subnet: "10.1.0.0/24"})},
			&registry.NodeNetwork{
				ID: "a", Driver: "bridge", Scope: "local", Internal: true,
				Subnets: []netip.Prefix{prefix("10.1.0.0/24")}, Gateways: []netip.Addr{ip("10.1.0.1")},
			}},
		{"macvlan, whose gateway is a router", network.Summary{ID: "a", Driver: "macvlan", Scope: "local", IPAM: ipam(network.IPAMConfig{Subnet: "192.0.2.0/24", Gateway: "192.0.2.1"})},
			&registry.NodeNetwork{ID: "a", Driver: "macvlan", Scope: "local", Subnets: []netip.Prefix{prefix("192.0.2.0/24")}}},
		{"host", network.Summary{ID: "a", Driver: "host", Scope: "local"}, nil},
	} {
		got, ok := nodeNetwork(&tt.in)
		if ok != (tt.want != nil) || ok && cmp.Diff(*tt.want, got, cmpAddr, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) != "" {
			t.Errorf("%s: %+v, %t", tt.name, got, ok)
		}
	}
}

func TestUnproxied(t *testing.T) {
	proc := t.TempDir()
	write := func(text string, path ...string) {
		t.Helper()
		file := filepath.Join(append([]string{proc}, path...)...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("1\n", "sys/net/ipv4/conf", "br-aaaaaaaaaaaa", "route_localnet")
	write("0\n", "sys/net/ipv4/conf", "br-bbbbbbbbbbbb", "route_localnet")
	for _, tt := range []struct {
		bridge, version      string
		unproxied, noIPv6NAT bool
	}{
		{"br-aaaaaaaaaaaa", "20.10.24+dfsg1", true, true},
		{"br-aaaaaaaaaaaa", "26.1.5", true, true},
		{"br-aaaaaaaaaaaa", "27.5.1", true, false},
		{"br-aaaaaaaaaaaa", "28.0.0", false, false},
		{"br-aaaaaaaaaaaa", "", true, true},
		{"br-bbbbbbbbbbbb", "20.10.24", false, false},
		{"br-elsewhere", "20.10.24", false, false},
	} {
		a := &Agent{bridges: bridges{names: map[string]bool{tt.bridge: true, "": true}}, version: tt.version}
		if unproxied, noIPv6NAT := a.filters(proc); unproxied != tt.unproxied || noIPv6NAT != tt.noIPv6NAT {
			t.Errorf("%s, engine %s: unproxied %t, no IPv6 NAT %t", tt.bridge, tt.version, unproxied, noIPv6NAT)
		}
	}
}
