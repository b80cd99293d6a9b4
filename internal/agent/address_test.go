package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/network"
)

// located is an engine that only knows networks.
type located struct {
	engine
	networks []network.Summary
}

func (l located) NetworkList(context.Context, network.ListOptions) ([]network.Summary, error) {
	return l.networks, nil
}

func dockerNetwork(name, subnet, gateway string) network.Summary {
	return network.Summary{Name: name, ID: name, Driver: "bridge", IPAM: network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet, Gateway: gateway}}}}
}

func TestLocate(t *testing.T) {
	shop := dockerNetwork("shop", "10.0.2.0/24", "10.0.2.1")
	none := netip.Addr{}
	tests := []struct {
		name       string
		networks   []network.Summary
		home       netip.Addr
		configured bool
		alone      bool
		want, says string
	}{
		{"on a host", []network.Summary{dockerNetwork("bridge", "172.17.0.0/16", "172.17.0.1")}, testHost, false, false, "10.0.2.10", ""},
		{"in a container", []network.Summary{shop}, testHost, false, false, "", `network "shop"`},
		{"in a container, configured", []network.Summary{shop}, testHost, true, false, "10.0.2.10", ""},
		{"in a container, alone", []network.Summary{shop}, testHost, false, true, "10.0.2.1", "--host-address"},
		{"in a container, alone and configured", []network.Summary{shop}, testHost, true, true, "10.0.2.10", ""},
		{"in a network without a word of its gateway", []network.Summary{dockerNetwork("shop", "10.0.2.0/24", "")}, testHost, false, true, "10.0.2.1", "--host-address"},
		{"no route", []network.Summary{shop, dockerNetwork("bridge", "172.17.0.0/16", "172.17.0.1")}, none, false, true, "172.17.0.1", "--host-address"},
		{"no route, IPv4 first", []network.Summary{dockerNetwork("bridge", "fd00::/64", "fd00::1"), dockerNetwork("bridge", "172.17.0.0/16", "172.17.0.1")}, none, false, true, "172.17.0.1", "--host-address"},
		{"no route and no Docker's own network", []network.Summary{dockerNetwork("z", "10.9.0.0/24", "10.9.0.1"), shop}, none, false, true, "10.0.2.1", "--host-address"},
		{"no route and no network", nil, none, false, true, "", "--host-address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &buffer{}
			a := &Agent{home: home{node: "n", addr: tt.home}, log: slog.New(slog.NewTextHandler(log, nil))}
			a.cfg.Alone = tt.alone
			if tt.configured {
				a.cfg.HostAddress = tt.home
			}
			var got string
			for range 3 { // an engine that comes and goes
				_, err := a.locate(t.Context(), located{networks: tt.networks})
				if err != nil {
					got = err.Error()
				}
			}
			if tt.want == "" {
				if !strings.Contains(got, tt.says) {
					t.Errorf("error %q, want %q in it", got, tt.says)
				}
				return
			}
			if got != "" || a.HostAddress().String() != tt.want {
				t.Errorf("address %s, %s; want %s", a.HostAddress(), got, tt.want)
			}
			if n := log.count("level=WARN"); n > 1 || (n == 1) != (tt.says != "") || log.count(tt.says) == 0 {
				t.Errorf("%d warnings: %s", n, log.b.String())
			}
		})
	}
}
