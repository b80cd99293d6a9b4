package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/lasting"
)

// located is an engine that only knows networks.
type located struct {
	engine
	networks []network.Summary
}

func (l located) NetworkList(context.Context, network.ListOptions) ([]network.Summary, error) {
	return l.networks, nil
}

func (l located) Close() error { return nil }

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
			a := &Agent{log: slog.New(slog.NewTextHandler(log, nil))}
			a.place.Store(&place{})
			a.cfg.Alone = tt.alone
			a.host = onHost(tt.home)
			if tt.configured {
				a.configured = tt.home
			}
			var got string
			for range 3 { // an engine that comes and goes
				if err := a.settleDown(t.Context(), located{networks: tt.networks}, ""); err != nil {
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

// onHost is a host with one interface, which the default route leaves by.
func onHost(addrs ...netip.Addr) host {
	return host{
		route: func() (netip.Addr, error) {
			if !addrs[0].IsValid() {
				return addrs[0], errNoAddress
			}
			return addrs[0], nil
		},
		links: func() ([]link, error) { return []link{{name: "eth0", addrs: addrs}}, nil },
	}
}

// A host's address changes, goes and comes back, also while its engine is away.
func TestFollows(t *testing.T) {
	ip := netip.MustParseAddr
	docker0 := dockerNetwork("bridge", "172.17.0.0/16", "172.17.0.1")
	type step struct {
		what   string
		host   host
		engine bool
		want   string // the node's addresses
		says   string
	}
	none := netip.Addr{}
	first, second := onHost(ip("10.0.2.10"), ip("fd00::10")), onHost(ip("10.0.3.77"), ip("fd00::10"))
	offline := host{route: onHost(none).route, links: func() ([]link, error) { return []link{{name: "docker0", addrs: []netip.Addr{ip("172.17.0.1")}}}, nil }}
	routeless := host{route: onHost(none).route, links: first.links}
	more := host{route: first.route, links: func() ([]link, error) {
		return []link{{name: "eth0", addrs: []netip.Addr{ip("10.0.2.10"), ip("fd00::10")}}, {name: "tun0", addrs: []netip.Addr{ip("10.8.0.2")}}, {name: "br-0123456789ab", addrs: []netip.Addr{ip("172.18.0.1")}}}, nil
	}}
	tests := []struct {
		name  string
		alone bool
		steps []step
	}{
		{"a node of several", false, []step{
			{"nothing new", first, true, "10.0.2.10 fd00::10", ""},
			{"a new address", second, true, "10.0.3.77 fd00::10", "before=10.0.2.10"},
			{"none", offline, true, "10.0.3.77 fd00::10", "no address for others"},
			{"another", first, true, "10.0.2.10 fd00::10", "has an address for others again"},
			{"one more, and a network that the engine doesn't tell of yet", more, true, "10.0.2.10 fd00::10 10.8.0.2", ""},
			{"a new one without an engine", second, false, "10.0.3.77 fd00::10", "address=10.0.3.77"},
		}},
		{"a node alone", true, []step{
			{"a route that goes", routeless, true, "10.0.2.10 fd00::10", ""},
			{"an address that goes", offline, true, "172.17.0.1", "--host-address"},
			{"one that comes", second, true, "10.0.3.77 fd00::10", "before=172.17.0.1"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log := &buffer{}
			logger := slog.New(slog.NewTextHandler(log, nil))
			var up engine = located{networks: []network.Summary{docker0}}
			a := &Agent{log: logger, host: first, lost: lasting.New(logger)}
			a.cfg.Node, a.cfg.Alone, a.cfg.InspectTimeout = "n", tt.alone, time.Second
			a.engine = &redialer{dial: func() (engine, error) {
				if up == nil {
					return nil, errors.New("no engine")
				}
				return up, nil
			}}
			a.place.Store(&place{})
			if err := a.settleDown(t.Context(), up, "28.0.0"); err != nil {
				t.Fatal(err)
			}
			rec := newRecorder()
			a.node.sink = rec
			q := newQueue(1)
			defer q.close()
			a.tracker = newTracker(q, rec, logger, time.Second)
			for _, s := range tt.steps {
				a.host, up, a.engine.current = s.host, nil, nil
				if s.engine {
					up = located{networks: []network.Summary{docker0}}
				}
				a.tracker.entries = map[string]*entry{"a": {}}
				was, lines := a.home(), log.count("\n")
				a.follows(t.Context())
				if got := strings.Trim(fmt.Sprint(a.place.Load().addresses), "[]"); got != s.want {
					t.Errorf("%s: addresses %s, want %s", s.what, got, s.want)
				}
				if got := strings.Trim(fmt.Sprint(rec.node.Addresses), "[]"); got != s.want {
					t.Errorf("%s: the node's key has %s, want %s", s.what, got, s.want)
				}
				if looked := q.size() > 0; looked != (was != a.home()) {
					t.Errorf("%s: looked at containers again: %t", s.what, looked)
				}
				if id, ok := q.nextLocked(); ok {
					q.done(id, false)
				}
				if s.says == "" && log.count("\n") != lines || s.says != "" && log.count(s.says) == 0 {
					t.Errorf("%s: want %q in the log:\n%s", s.what, s.says, log.b.String())
				}
			}
		})
	}
}

// An engine on another host is a node at that host's address.
func TestElsewhere(t *testing.T) {
	ip := netip.MustParseAddr
	own := []link{{name: "eth0", addrs: []netip.Addr{ip("10.0.2.10")}}}
	tests := []struct {
		host, configured string
		want             string
		remote           bool
		says             string
	}{
		{host: "unix:///var/run/docker.sock"},
		{host: "tcp://127.0.0.1:2375"},
		{host: "tcp://localhost:2375"},
		{host: "tcp://10.0.2.10:2375"},
		{host: "tcp://10.0.2.10:2375", configured: "10.0.2.10", want: "10.0.2.10"},
		{host: "tcp://10.9.0.1:2375", want: "10.9.0.1", remote: true},
		{host: "tcp://[fd00::7]:2375", want: "fd00::7", remote: true},
		{host: "https://10.9.0.1:2376", configured: "203.0.113.7", want: "203.0.113.7", remote: true},
		{host: "tcp://nowhere.invalid:2375", configured: "203.0.113.7", want: "203.0.113.7", remote: true},
		{host: "tcp://nowhere.invalid:2375", says: "--host-address"},
		{host: "tcp://169.254.1.1:2375", says: "--host-address"},
	}
	for _, tt := range tests {
		t.Run(tt.host+" "+tt.configured, func(t *testing.T) {
			e, err := dockerclient.Find(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			var configured netip.Addr
			if tt.configured != "" {
				configured = ip(tt.configured)
			}
			got, remote, err := elsewhere(e, configured, own)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.host) {
					t.Errorf("%v, want an error that asks for %s", err, tt.says)
				}
				return
			}
			text := ""
			if got.IsValid() {
				text = got.String()
			}
			if err != nil || text != tt.want || remote != tt.remote {
				t.Errorf("%q, remote %t, %v", text, remote, err)
			}
		})
	}
	a := &Agent{remote: true, configured: ip("10.9.0.1"), host: onHost(ip("10.0.2.10"))}
	p, err := a.locate(bridges{})
	if err != nil || len(p.addresses) != 1 || p.home.addr != ip("10.9.0.1") || p.home.other.IsValid() {
		t.Errorf("located at %v, %v; want nothing of this host's", p, err)
	}
}
