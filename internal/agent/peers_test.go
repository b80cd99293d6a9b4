package agent

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"github.com/rackdns/rackdns/internal/registry"
)

// What users of other agents complain about, and where it is tested that this
// one does better; what has no test elsewhere has it below.
//
//	a missed death, or a boot, leaves stale names   TestEngineDies, TestMissedDeath, TestInherits
//	the end of the stream ends the agent            TestEngineComesAndGoes
//	identity from a host name                       TestHostNameIsNoIdentity
//	refreshing by writing                           TestQuietHostIsQuiet
//	a list resurrects what is being removed         TestListFromBeforeTheDeathDoesNotResurrect
//	a random network                                TestNetworks
//	removed too late                                TestSignals; test/drain_test.go
//	removed on SIGHUP                               TestSignalsThatKillAndThatDoNot
//	no IPv6                                         TestNetworks, TestPorts
//	no TLS to the store                             internal/registry: TestTLS
//	tcp and udp on one port clash                   TestPorts
//	a name that depends on the number of ports      TestExposedPortsChangeNoName
//	one odd container ends the agent                TestOddContainerKillsNobody
//	giving up for ever                              TestRetryNeverGivesUp
//	a network attached later is ignored             TestNetworkAttachedLater
//	surprised by health checks                      TestHealth, TestHealthLabel, TestExplain
//	one agent's restart removes its peers' names    TestPeersKeepTheirNames
//	one-off jobs have names                         TestLeftOut

func inspected(hostname string, ports ...nat.Port) container.InspectResponse {
	set := nat.PortSet{}
	for _, p := range ports {
		set[p] = struct{}{}
	}
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: strings.Repeat("3485248b1d18", 5) + "abcd", Name: "/web-1",
			State:      &container.State{Status: "running", StartedAt: "2026-11-20T09:32:51Z"},
			HostConfig: &container.HostConfig{NetworkMode: modeHost},
		},
		Config: &container.Config{Hostname: hostname, Domainname: "example.com", ExposedPorts: set},
	}
}

func decided(t *testing.T, c container.InspectResponse) *registry.Instance {
	t.Helper()
	f, err := readFacts(c)
	if err != nil {
		t.Fatal(err)
	}
	d := decide(f, testHome)
	if d.instance == nil {
		t.Fatalf("refused: %+v", d.refusal)
	}
	return d.instance
}

// Two hosts, or two containers, may well have the same host name.
func TestHostNameIsNoIdentity(t *testing.T) {
	want := decided(t, inspected(""))
	for _, host := range []string{"web", "registrator", "node-1", "../x"} {
		if got := decided(t, inspected(host)); !sameInstance(got, want) {
			t.Errorf("host name %q makes it %+v, want %+v", host, got, want)
		}
	}
}

func TestExposedPortsChangeNoName(t *testing.T) {
	for _, ports := range [][]nat.Port{nil, {"80/tcp"}, {"80/tcp", "443/tcp"}, {"53/tcp", "53/udp", "80/tcp"}} {
		i := decided(t, inspected("", ports...))
		if i.Service != "web-1" || i.ID != "3485248b1d18" || len(i.Ports) != len(ports) {
			t.Errorf("%v: service %s, ID %s, ports %v", ports, i.Service, i.ID, i.Ports)
		}
	}
}

// Each agent's keys are its own, whatever the others do.
func TestPeersKeepTheirNames(t *testing.T) {
	t.Parallel()
	r := docker(t)
	c, reg := etcd(t)
	id := shortID(r.run(t, spec{name: "peers"}))
	peer := func(node string, drain bool) (stop func()) {
		a, err := New(Config{DockerHost: r.host, Registry: c, Node: node, HostAddress: testHost, DrainOnStop: drain, Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		stop = startAgent(t, a)
		waitReady(t, a)
		key := c.Layout().Instance(node, id)
		eventually(t, key, func() string {
			if keys, _, _ := reg.snapshot(); keys[key] == nil {
				return "is not registered"
			}
			return ""
		})
		return stop
	}
	peer("node-1", false)
	for _, drain := range []bool{false, true, true} {
		peer("node-2", drain)()
	}
	keys, deleted, _ := reg.snapshot()
	if keys[c.Layout().Instance("node-1", id)] == nil || keys[c.Layout().Node("node-1")] == nil {
		t.Error("node-1 has no names any more")
	}
	for _, k := range deleted {
		if strings.HasPrefix(k, c.Layout().Instance("node-1", id)) || k == c.Layout().Node("node-1") {
			t.Errorf("%s was gone for a moment", k)
		}
	}
}
