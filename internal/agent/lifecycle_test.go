package agent

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// These tests need a real Docker Engine. Each has its own agent, which sees
// the containers of other tests and of other people as well.

// waitFor waits until what is published of a container passes check.
func waitFor(t *testing.T, rec *recorder, id, what string, check func(*registry.Instance) bool) *registry.Instance {
	t.Helper()
	var i *registry.Instance
	eventually(t, what, func() string {
		i = rec.get(id)
		if check(i) {
			return ""
		}
		return fmt.Sprintf("it is %+v", i)
	})
	return i
}

func serving(i *registry.Instance) bool { return i != nil && i.Serving() }
func gone(i *registry.Instance) bool    { return i == nil }
func silent(i *registry.Instance) bool  { return i != nil && !i.Serving() }

// story tells the writes about a container in words, without repetitions.
func story(rec *recorder, id string) []string {
	var words []string
	for _, w := range rec.of(id) {
		word := w.op
		if i := w.instance; i != nil {
			switch {
			case i.Draining:
				word = "draining"
			case i.Serving():
				word = "serving"
			default:
				word = i.Status + "/" + i.Health
			}
		}
		words = append(words, word)
	}
	return slices.Compact(words)
}

func wantStory(t *testing.T, rec *recorder, id string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, story(rec, id)); diff != "" {
		t.Errorf("what was written (-want +got):\n%s", diff)
	}
}

func TestStartAndStop(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	id := r.create(t, spec{name: "web", Config: container.Config{Labels: labels{"rackdns.app": "shop", "rackdns.service": "web"}}})
	if i := rec.get(id); i != nil {
		t.Errorf("created, not started: %+v", i)
	}
	before := time.Now()
	r.start(t, id)
	i := waitFor(t, rec, id, "start", serving)
	if i.App != "shop" || i.Service != "web" || i.Host != testHost || len(i.Networks) != 1 || !i.Networks[0].IPv4.IsValid() {
		t.Errorf("instance = %+v", i)
	}
	if i.Observed.Before(before) || i.Observed.After(time.Now()) {
		t.Errorf("observed %s, which is not when it started", i.Observed)
	}
	if err := r.cli.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "stop", gone)
	// Clients must be sent elsewhere before it is dead, not after.
	wantStory(t, rec, id, "serving", "draining", "remove")
}

func TestRestartWithNewAddress(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	// With a subnet of one's own, a container can be given a certain address.
	_, name := r.network(t, "restart", network.CreateOptions{IPAM: &network.IPAM{
		Config: []network.IPAMConfig{{Subnet: fmt.Sprintf("198.19.%d.%d/28", rand.N(256), 16*rand.N(16))}},
	}})
	s := spec{name: "restart", host: container.HostConfig{NetworkMode: container.NetworkMode(name)}}
	id := r.run(t, s)
	old := waitFor(t, rec, id, "start", serving).Networks[0].IPv4
	if err := r.cli.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	s.name = "squatter"
	s.nets = map[string]*network.EndpointSettings{name: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: old.String()}}}
	squatter := r.run(t, s)
	if got := waitFor(t, rec, squatter, "start", serving).Networks[0].IPv4; got != old {
		t.Fatalf("the engine gave %s, not %s, to the next container", got, old)
	}
	r.start(t, id)
	i := waitFor(t, rec, id, "another start", serving)
	if i.Networks[0].IPv4 == old || i.Networks[0].Name != name {
		t.Errorf("networks = %+v, want another address than %s on %s", i.Networks, old, name)
	}
	if err := r.cli.ContainerRestart(t.Context(), id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "restart", func(j *registry.Instance) bool { return serving(j) && j.Started.After(i.Started) })
	wantStory(t, rec, id, "serving", "draining", "remove", "serving", "draining", "remove", "serving")
}

func TestPauseAndRename(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	id := r.run(t, spec{name: "pause"})
	waitFor(t, rec, id, "start", serving)
	if err := r.cli.ContainerPause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "pause", func(i *registry.Instance) bool { return silent(i) && i.Status == registry.StatusPaused })
	if err := r.cli.ContainerUnpause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "unpause", serving)
	if err := r.cli.ContainerRename(t.Context(), id, r.name("other_name")); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(r.name("other_name"), "_", "-")
	waitFor(t, rec, id, "rename", func(i *registry.Instance) bool { return serving(i) && i.Service == want })
	if err := r.cli.ContainerRename(t.Context(), id, r.name("a.b")); err != nil {
		t.Fatal(err)
	}
	dashed := strings.ReplaceAll(r.name("a.b"), ".", "-")
	waitFor(t, rec, id, "dots", func(i *registry.Instance) bool { return serving(i) && i.Service == dashed })
	// To a name that is none, and back.
	if err := r.cli.ContainerRename(t.Context(), id, r.name("bad")+"-"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "bad name", gone)
	if err := r.cli.ContainerRename(t.Context(), id, r.name("good-name")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "good name", serving)
}

func TestHealth(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	check := &container.HealthConfig{
		Test: []string{"CMD", "/worker", "exists", "/healthy"}, Interval: 300 * time.Millisecond, Timeout: 10 * time.Second, Retries: 1,
		StartPeriod: time.Hour,
	}
	id := r.run(t, spec{name: "health", Config: container.Config{Healthcheck: check}})
	ignored := r.run(t, spec{name: "health-ignored", Config: container.Config{
		Healthcheck: &container.HealthConfig{Test: []string{"CMD", "/worker", "exists", "/never"}, Interval: time.Hour},
		Labels:      labels{"rackdns.health": "ignore"},
	}})
	required := r.run(t, spec{name: "health-required", Config: container.Config{Labels: labels{"rackdns.health": "require"}}})
	waitFor(t, rec, id, "starting", func(i *registry.Instance) bool { return silent(i) && i.Health == registry.HealthStarting })
	waitFor(t, rec, ignored, "health that is ignored", serving)
	waitFor(t, rec, required, "health that is required", silent)

	r.exec(t, id, "/worker", "touch", "/healthy")
	waitFor(t, rec, id, "healthy", serving)
	r.exec(t, id, "/worker", "rm", "/healthy")
	waitFor(t, rec, id, "unhealthy", func(i *registry.Instance) bool { return silent(i) && i.Health == registry.HealthUnhealthy })
	r.exec(t, id, "/worker", "touch", "/healthy")
	waitFor(t, rec, id, "healthy again", serving)
}

func TestNetworkAttachedLater(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	netID, name := r.network(t, "late", network.CreateOptions{})
	id := r.run(t, spec{name: "late", Config: container.Config{Labels: labels{"rackdns.service": "late"}}})
	waitFor(t, rec, id, "start", serving)
	if err := r.cli.NetworkConnect(t.Context(), netID, id, nil); err != nil {
		t.Fatal(err)
	}
	i := waitFor(t, rec, id, "connect", func(i *registry.Instance) bool { return serving(i) && len(i.Networks) == 2 })
	if i.Networks[0].Name != "bridge" || i.Networks[1].Name != name || i.Networks[1].ID != shortID(netID) {
		t.Errorf("networks = %+v, want that of the network mode first", i.Networks)
	}
	if err := r.cli.NetworkDisconnect(t.Context(), "bridge", id, false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "disconnect", func(i *registry.Instance) bool {
		return serving(i) && len(i.Networks) == 1 && i.Networks[0].Name == name
	})
	if err := r.cli.NetworkDisconnect(t.Context(), netID, id, false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "disconnect from all", gone)
}

func TestNetworkByLabel(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	netID, name := r.network(t, "chosen", network.CreateOptions{
		EnableIPv6: new(true),
		IPAM:       &network.IPAM{Config: []network.IPAMConfig{{Subnet: "fd5e:77aa:1::/64"}}},
	})
	id := r.create(t, spec{name: "chosen", Config: container.Config{Labels: labels{"rackdns.network": name}}})
	if err := r.cli.NetworkConnect(t.Context(), netID, id, nil); err != nil {
		t.Fatal(err)
	}
	r.start(t, id)
	i := waitFor(t, rec, id, "start", serving)
	if len(i.Networks) != 1 || i.Networks[0].Name != name || !i.Networks[0].IPv4.Is4() || !i.Networks[0].IPv6.Is6() || i.Networks[0].Scope != "local" {
		t.Errorf("networks = %+v, want only %s, with both families", i.Networks, name)
	}
}

func TestSignalsThatKillAndThatDoNot(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, func(c *Config) { c.DrainGrace = 200 * time.Millisecond })

	// SIGHUP reloads many programs. SIGUSR1 is this one's stop signal.
	timeout := 1
	id := r.run(t, spec{name: "hup", Config: container.Config{StopSignal: "SIGUSR1"}})
	survivor := r.run(t, spec{name: "stubborn", Config: container.Config{Cmd: []string{"deaf", "15", "1"}, StopTimeout: &timeout}})
	waitFor(t, rec, id, "start", serving)
	waitFor(t, rec, survivor, "start", serving)
	r.kill(t, id, "SIGHUP")
	r.kill(t, survivor, "SIGHUP")
	r.kill(t, survivor, "SIGTERM")
	waitFor(t, rec, survivor, "drain", silent)
	waitFor(t, rec, survivor, "survival", serving)
	wantStory(t, rec, survivor, "serving", "draining", "serving")
	r.kill(t, survivor, "SIGKILL")
	waitFor(t, rec, survivor, "death", gone)
	wantStory(t, rec, survivor, "serving", "draining", "serving", "draining", "remove")

	wantStory(t, rec, id, "serving")
	r.kill(t, id, "SIGUSR1")
	waitFor(t, rec, id, "death", gone)
	wantStory(t, rec, id, "serving", "draining", "remove")
}

func TestSharedNetwork(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	port := nat.Port("80/tcp")
	x := r.run(t, spec{name: "x", Config: container.Config{ExposedPorts: nat.PortSet{port: {}}}, host: container.HostConfig{
		PortBindings: nat.PortMap{port: {{HostIP: "0.0.0.0"}}},
	}})
	first := waitFor(t, rec, x, "start", serving)
	j := r.run(t, spec{name: "joiner", Config: container.Config{Labels: labels{"rackdns.port.80": "http"}}, host: container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + r.name("x")),
	}})
	i := waitFor(t, rec, j, "start of the joiner", serving)
	if diff := cmp.Diff(first.Networks, i.Networks, cmpAddr); diff != "" {
		t.Errorf("networks (-x +joiner):\n%s", diff)
	}
	if diff := cmp.Diff(first.Ports[0].Bindings, i.Ports[0].Bindings, cmpAddr); diff != "" || i.Ports[0].Name != "http" {
		t.Errorf("ports = %+v, bindings (-x +joiner):\n%s", i.Ports, diff)
	}
	if err := r.cli.ContainerRestart(t.Context(), x, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, x, "restart", serving)
	waitFor(t, rec, j, "being left in a dead network", gone)
	x9, err := Explain(t.Context(), Config{DockerHost: r.host, HostAddress: testHost, Node: "n"}, j)
	if err != nil || x9.Refusal == nil || x9.Refusal.Reason != ReasonJoined || !strings.Contains(x9.String(), "restarted too") {
		t.Errorf("explanation: %v\n%s", err, x9)
	}
	if err := r.cli.ContainerRestart(t.Context(), j, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, j, "restart of the joiner", serving)
	if err := r.cli.ContainerStop(t.Context(), x, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, j, "stop of x", gone)
}

func TestHostAndNone(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	host := r.run(t, spec{name: "host", Config: container.Config{
		ExposedPorts: nat.PortSet{"8080/tcp": {}}, Labels: labels{"rackdns.port.5353/udp": "mdns"},
	}, host: container.HostConfig{NetworkMode: "host"}})
	none := r.run(t, spec{name: "none", host: container.HostConfig{NetworkMode: "none"}})
	i := waitFor(t, rec, host, "start", serving)
	if diff := cmp.Diff([]string{"5353/udp mdns 10.0.2.10:5353", "8080/tcp 10.0.2.10:8080"}, lines(i.Ports)); diff != "" || len(i.Networks) != 0 {
		t.Errorf("networks %+v, ports (-want +got):\n%s", i.Networks, diff)
	}
	x, err := Explain(t.Context(), Config{DockerHost: r.host, HostAddress: testHost, Node: "n"}, r.name("none"))
	if err != nil || x.Refusal == nil || x.Refusal.Reason != ReasonNoNetwork || rec.get(none) != nil {
		t.Errorf("none: %v\n%s", err, x)
	}
}

func TestBindings(t *testing.T) {
	r := docker(t)
	own, err := routeAddress()
	if err != nil {
		t.Skip(err)
	}
	_, rec := r.agent(t, nil)
	binding := func(ip string) []nat.PortBinding { return []nat.PortBinding{{HostIP: ip}} }
	s := spec{name: "bindings", host: container.HostConfig{PortBindings: nat.PortMap{
		"53/tcp": binding("0.0.0.0"), "53/udp": binding(""), "81/tcp": binding(own.String()), "82/tcp": binding("127.0.0.1"),
	}}}
	s.ExposedPorts = nat.PortSet{"53/tcp": {}, "53/udp": {}, "81/tcp": {}, "82/tcp": {}, "9000/tcp": {}}
	id := r.run(t, s)
	i := waitFor(t, rec, id, "start", serving)
	c, err := r.cli.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	at := func(p nat.Port) string { return c.NetworkSettings.Ports[p][0].HostPort }
	want := []string{
		fmt.Sprintf("53/tcp 10.0.2.10:%s %s:%s", at("53/tcp"), own, at("53/tcp")),
		fmt.Sprintf("53/udp 10.0.2.10:%s %s:%s", at("53/udp"), own, at("53/udp")),
		fmt.Sprintf("81/tcp %s:%s", own, at("81/tcp")),
		"82/tcp 127.0.0.1:" + at("82/tcp"),
		"9000/tcp",
	}
	if diff := cmp.Diff(want, lines(i.Ports)); diff != "" {
		t.Errorf("ports (-want +got):\n%s\n%v", diff, c.NetworkSettings.Ports)
	}
}

// A dozen ways to be left alone or refused, each beside a container that is
// well and stays so.
func TestHostileNeighbours(t *testing.T) {
	r := docker(t)
	_, rec := r.agent(t, nil)
	many := labels{"rackdns.service": "many"}
	for n := range 10000 {
		many[fmt.Sprintf("rackdns.tags.%d", n)] = strings.Repeat("x", 20)
	}
	hostile := map[string]labels{
		"long":    {"rackdns.service": strings.Repeat("a", 5000)},
		"control": {"rackdns.service": "web\n\x1b[2J\x00"},
		"path":    {"rackdns.app": "../../acme2/instances"},
		"rack":    {"rackdns.app": "acme.convox"},
		"oneoff":  {"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.oneoff": "True"},
		"ignored": {"rackdns.ignore": ""},
		"timer":   {"convox.app": "shop", "convox.name": "cleanup", "convox.type": "timer"},
	}
	good := r.run(t, spec{name: "good", Config: container.Config{Labels: labels{"rackdns.service": "good"}}})
	waitFor(t, rec, good, "start", serving)
	var bad []string
	for name, l := range hostile {
		bad = append(bad, r.run(t, spec{name: name, Config: container.Config{Labels: l}}))
	}
	crowd := r.run(t, spec{name: "crowd", Config: container.Config{Labels: many}})
	i := waitFor(t, rec, crowd, "start with 10,000 labels", serving)
	if len(i.Tags) != maxTags {
		t.Errorf("%d tags, want %d", len(i.Tags), maxTags)
	}
	last := r.run(t, spec{name: "last", Config: container.Config{Labels: labels{"rackdns.service": "last"}}})
	waitFor(t, rec, last, "start after all those", serving)
	for _, id := range bad {
		if i := rec.get(id); i != nil {
			t.Errorf("registered: %+v", i)
		}
	}
	wantStory(t, rec, good, "serving")
	plan, err := Plan(t.Context(), Config{DockerHost: r.host, HostAddress: testHost, Node: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range bad {
		if !slices.ContainsFunc(plan.LeftOut, func(r Refusal) bool { return r.ID == shortID(id) && r.Detail != "" }) {
			t.Errorf("the plan doesn't refuse %s", shortID(id))
		}
	}
	for _, id := range []string{good, crowd, last} {
		n := slices.IndexFunc(plan.Instances, func(i *registry.Instance) bool { return i.ID == shortID(id) })
		if n < 0 || !sameInstance(plan.Instances[n], rec.get(id)) {
			t.Errorf("the plan is not what was done for %s", shortID(id))
		}
	}
}

func TestAgentEnds(t *testing.T) {
	r := docker(t)
	id := r.run(t, spec{name: "ends"})
	for _, drain := range []bool{false, true} {
		a, rec := r.unstarted(t, func(c *Config) { c.DrainOnStop = drain })
		stop := startAgent(t, a)
		waitReady(t, a)
		if !serving(rec.get(id)) {
			t.Errorf("ready, but %+v", rec.get(id))
		}
		stop()
		if rec.drained != drain || (rec.get(id) == nil) != drain {
			t.Errorf("drain on stop is %t: drained %t, instance %+v", drain, rec.drained, rec.get(id))
		}
		// The end of an agent is not the end of its containers.
		if !drain {
			wantStory(t, rec, id, "serving")
		}
	}
}

func TestExplainOnEngine(t *testing.T) {
	r := docker(t)
	cfg := Config{DockerHost: r.host, HostAddress: testHost, Node: "node-1"}
	id := r.run(t, spec{name: "explain", Config: container.Config{Cmd: []string{"stubborn"}}})
	x, err := Explain(t.Context(), cfg, r.name("explain"))
	if err != nil || !x.Serving || x.ID != shortID(id) {
		t.Errorf("%v: %s", err, x)
	}
	r.kill(t, id, "SIGHUP")
	if x, err = Explain(t.Context(), cfg, shortID(id)); err != nil || !x.Serving {
		t.Errorf("after SIGHUP: %v: %s", err, x)
	}
	r.kill(t, id, "SIGTERM")
	if x, err = Explain(t.Context(), cfg, id); err != nil || x.Serving || !strings.Contains(x.String(), "sent its stop signal") {
		t.Errorf("after SIGTERM: %v: %s", err, x)
	}
	r.kill(t, id, "SIGKILL")
	eventually(t, "death", func() string {
		x, err = Explain(t.Context(), cfg, id)
		if err != nil || x.Refusal == nil || x.Refusal.Reason != ReasonNotRunning {
			return x.String()
		}
		return ""
	})
	if _, err := Explain(t.Context(), cfg, r.name("nobody")); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("a container that isn't there: %v", err)
	}
}
