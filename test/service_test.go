package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// web starts n containers of a service that publish port 3000 at random.
func web(t *testing.T, n int, app string, b *bridge) []*instance {
	t.Helper()
	all := make([]*instance, n)
	for i := range all {
		all[i] = start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	}
	return all
}

// atHost is what the host should be told: each instance's target with its
// published port.
func atHost(name string, instances ...*instance) map[string][]string {
	want := map[string][]string{}
	for _, c := range instances {
		want[c.id+"."+name] = []string{c.published("3000/tcp")}
	}
	return want
}

// Three containers of one service, seen by the host: SRV leads to each of
// them, at the port that Docker chose for it.
func TestHostReachesEveryInstance(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 3, app, b)

	eventually(t, "three instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	if err := resolvesTo(r.dns, name, b.gateway.String()); err != nil {
		t.Error(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		m, err := ask(r.dns, network, name, dns.TypeSRV)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := endpoints(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range instances {
			target := c.id + "." + name
			body, err := get("http://" + ends[target])
			if got := strings.TrimSpace(string(body)); err != nil || got != c.id {
				t.Errorf("over %s: %s leads to %s, which says %q, %v; want %s", network, target, ends[target], got, err, c.id)
			}
			if err := resolvesTo(r.dns, target, b.gateway.String()); err != nil {
				t.Error(err)
			}
		}
	}
}

// The same three, seen by a fourth container whose resolver asks us: it shares
// their network, so it is given their own addresses and ports.
func TestContainerReachesEveryInstance(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 3, app, b)
	asker := start(t, spec{app: app, service: "asker", network: b, dns: b.gateway})
	reachesEach(t, asker, name, instances)
}

// reachesEach checks that a container's own resolver finds exactly these
// instances, and that it gets to each of them by address and by SRV.
func reachesEach(t *testing.T, asker *instance, name string, instances []*instance) {
	t.Helper()
	wantAddrs, wantPorts := map[string]bool{}, map[string]uint16{}
	byAddr := map[string]string{}
	for _, c := range instances {
		addr := c.address().String()
		wantAddrs[addr], byAddr[addr] = true, c.id
		wantPorts[c.id+"."+name] = 3000
	}
	eventually(t, "the container sees each instance", func() error {
		a, err := asker.lookup("A", name)
		if err != nil {
			return err
		}
		addrs := map[string]bool{}
		for _, addr := range a.Addresses {
			addrs[addr] = true
		}
		if diff := cmp.Diff(wantAddrs, addrs); diff != "" {
			return fmt.Errorf("A (-want +got):\n%s%s", diff, a.Error)
		}
		srv, err := asker.lookup("SRV", name)
		if err != nil {
			return err
		}
		ports := map[string]uint16{}
		for _, s := range srv.Services {
			ports[s.Target] = s.Port
		}
		if diff := cmp.Diff(wantPorts, ports); diff != "" {
			return fmt.Errorf("SRV (-want +got):\n%s%s", diff, srv.Error)
		}
		return nil
	})
	for addr, id := range byAddr {
		if got, err := asker.connect("http", net.JoinHostPort(addr, "3000")); err != nil || got != id {
			t.Errorf("from the container, %s says %q, %v; want %s", addr, got, err, id)
		}
	}
	for target, port := range wantPorts {
		// By name: the container's resolver has to find the target, too.
		got, err := asker.connect("http", fmt.Sprintf("%s:%d", target, port))
		if err != nil || !strings.HasPrefix(target, got+".") {
			t.Errorf("from the container, %s:%d says %q, %v", target, port, got, err)
		}
	}
}

// A container on the default bridge has no resolver of Docker's in between and
// shares no network with the service, so it is sent to the host's address.
func TestStrangerIsSentToPublishedPort(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	asker := start(t, spec{network: &bridge{name: "bridge"}, dns: b.gateway})
	want := map[string]string{}
	for target, ports := range atHost(name, instances...) {
		want[target] = ports[0]
	}
	eventually(t, "the stranger sees published ports", func() error {
		srv, err := asker.lookup("SRV", name)
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, s := range srv.Services {
			got[s.Target] = fmt.Sprint(s.Port)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("SRV (-want +got):\n%s%s", diff, srv.Error)
		}
		a, err := asker.lookup("A", name)
		if err == nil && !cmp.Equal(a.Addresses, []string{b.gateway.String()}) {
			err = fmt.Errorf("A: %v %s, want %s", a.Addresses, a.Error, b.gateway)
		}
		return err
	})
	for target, port := range want {
		got, err := asker.connect("http", net.JoinHostPort(target, port))
		if err != nil || !strings.HasPrefix(target, got+".") {
			t.Errorf("from the stranger, %s:%s says %q, %v", target, port, got, err)
		}
	}
}

// An instance that is killed is gone, and is back with its new port as soon as
// it is started again.
func TestKilledInstanceIsGoneUntilStarted(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 3, app, b)
	asker := start(t, spec{app: app, service: "asker", network: b, dns: b.gateway})
	eventually(t, "three instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })

	victim := instances[0]
	before := victim.published("3000/tcp")
	victim.kill()
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, instances[1:]...)) })
	reachesEach(t, asker, name, instances[1:])
	if m, err := ask(r.dns, "udp", victim.id+"."+name, dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
		t.Errorf("the killed instance's name: %v %v, want NXDOMAIN", m, err)
	}

	victim.start()
	eventually(t, "three instances again", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	reachesEach(t, asker, name, instances)
	if after := victim.published("3000/tcp"); after == before {
		t.Logf("Docker chose port %s again, so a changed port was not seen here", after)
	}

	for _, c := range instances {
		c.kill()
	}
	eventually(t, "none", func() error { return resolvesToNothing(r, name) })
}

// resolvesToNothing checks that a name has no address, whether it is known as
// a service without instances or not at all.
func resolvesToNothing(r *rack, name string) error {
	m, err := ask(r.dns, "udp", name, dns.TypeA)
	if err != nil {
		return err
	}
	if len(m.Answer) > 0 || (m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError) {
		return fmt.Errorf("%s: %s %v", name, dns.RcodeToString[m.Rcode], m.Answer)
	}
	return nil
}

// One container, several ports: SRV has each of them, and `_port._proto` picks
// one. Each leads to what listens there, by its own protocol.
func TestPortsByProtocol(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	c := start(t, spec{
		app: app, service: "web", network: b,
		command: []string{"-http", "3000", "-tcp", "3001", "-udp", "3001"},
		expose:  []string{"3000/tcp", "3001/tcp", "3001/udp"},
	})
	target := c.id + "." + name
	asker := start(t, spec{network: b, dns: b.gateway})

	for _, p := range []struct{ prefix, port, how string }{
		{"_3000._tcp.", "3000/tcp", "http"},
		{"_3001._tcp.", "3001/tcp", "tcp"},
		{"_3001._udp.", "3001/udp", "udp"},
	} {
		published := c.published(p.port)
		eventually(t, p.prefix+name, func() error {
			return servedBy(r.dns, p.prefix+name, map[string][]string{target: {published}})
		})
		srv, err := asker.lookup("SRV", p.prefix+name)
		if err != nil || len(srv.Services) != 1 {
			t.Fatalf("from a container, %s: %v %v", p.prefix+name, srv, err)
		}
		s := srv.Services[0]
		got, err := asker.connect(p.how, fmt.Sprintf("%s:%d", s.Target, s.Port))
		if err != nil || !strings.HasPrefix(got, c.id) {
			t.Errorf("%s leads to %s:%d, which says %q, %v; want %s", p.prefix+name, s.Target, s.Port, got, err, c.id)
		}
		if m, err := found(r.dns, p.prefix+name, dns.TypeA); err != nil || len(m.Answer) > 0 {
			t.Errorf("%s A: %v %v, want NODATA", p.prefix+name, m, err)
		}
	}
	all := map[string][]string{target: {c.published("3000/tcp"), c.published("3001/tcp"), c.published("3001/udp")}}
	slices.Sort(all[target])
	if err := servedBy(r.dns, name, all); err != nil {
		t.Error(err)
	}
}

// A network that a running container joins counts from then on, and one that it
// leaves no longer.
func TestAttachedLater(t *testing.T) {
	t.Parallel()
	b, other, app := newBridge(t), newBridge(t), unique("shop")
	r := startRack(t, b)
	c := start(t, spec{app: app, service: "web", network: b})
	asker := start(t, spec{network: other, dns: b.gateway})
	name := r.service("web", app)
	eventually(t, "the host sees it", func() error { return resolvesTo(r.dns, name, c.address().String()) })
	addresses := func(want ...string) func() error {
		return func() error {
			a, err := asker.lookup("A", name)
			if err == nil && !slices.Equal(a.Addresses, want) {
				err = fmt.Errorf("%v %s, want %v", a.Addresses, a.Error, want)
			}
			return err
		}
	}
	eventually(t, "no address that can't be reached", addresses())
	c.attach(other)
	joined := c.inspect().NetworkSettings.Networks[other.name].IPAddress
	eventually(t, "the address on the asker's network", addresses(joined))
	c.detach(other)
	eventually(t, "no address any more", addresses())
}

// Who has no label of ours is found by Compose's labels, and else by name.
func TestIdentity(t *testing.T) {
	t.Parallel()
	b, project := newBridge(t), unique("project")
	r := startRack(t, b)
	compose := start(t, spec{network: b, expose: []string{"3000/tcp"}, labels: map[string]string{
		"com.docker.compose.project": project,
		"com.docker.compose.service": "api",
		"com.docker.compose.oneoff":  "False",
	}})
	oneOff := start(t, spec{network: b, expose: []string{"3000/tcp"}, labels: map[string]string{
		"com.docker.compose.project": project,
		"com.docker.compose.service": "api",
		"com.docker.compose.oneoff":  "True",
	}})
	plain := start(t, spec{network: b, expose: []string{"3000/tcp"}})
	both := start(t, spec{app: project + "-own", service: "web", network: b, expose: []string{"3000/tcp"}, labels: map[string]string{
		"com.docker.compose.project": project,
		"com.docker.compose.service": "other",
	}})
	for name, c := range map[string]*instance{
		r.service("api", project):        compose,
		r.service(plain.name, "default"): plain,
		r.service("web", project+"-own"): both,
	} {
		eventually(t, name, func() error { return servedBy(r.dns, name, atHost(name, c)) })
	}
	for _, gone := range []string{oneOff.id + "." + r.service("api", project), r.service("other", project)} {
		if m, err := ask(r.dns, "udp", gone, dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
			t.Errorf("%s: %v %v, want NXDOMAIN", gone, m, err)
		}
	}
}

// dig is what people try first.
func TestDig(t *testing.T) {
	t.Parallel()
	needTool(t, "dig")
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	at := netip.MustParseAddrPort(r.dns)
	dig := func(args ...string) string {
		args = append([]string{"@" + at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+tries=1"}, args...)
		out, err := exec.Command("dig", args...).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("dig %v: %v\n%s%s", args, err, out, exit.Stderr)
		}
		return string(out)
	}
	if got := strings.TrimSpace(dig("+short", name)); got != b.gateway.String() {
		t.Errorf("dig +short: %q, want %s", got, b.gateway)
	}
	short := dig("+short", name, "SRV")
	for target, ports := range atHost(name, instances...) {
		if want := ports[0] + " " + target; !strings.Contains(short, want) {
			t.Errorf("dig +short SRV: %q, want %q in it", short, want)
		}
	}
	full := dig("+tcp", "nothing."+r.zone)
	for _, want := range []string{"status: NXDOMAIN", "flags: qr aa", "SOA"} {
		if !strings.Contains(full, want) {
			t.Errorf("dig: %q is missing in\n%s", want, full)
		}
	}
}
