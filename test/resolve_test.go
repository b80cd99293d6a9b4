package test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// result is what `rackdns resolve -o json` prints.
type result struct {
	Name  string
	Kind  string
	Asker struct{ Kind, Address, Instance string }

	Instances []verdict
}

// verdict is what it says of an instance.
type verdict struct {
	ID, Node, Why string
	Told          bool
	Endpoints     []struct {
		Address netip.Addr
		Port    uint16
	}
}

// resolve asks the command what an asker is told: the host:port pairs by the
// target that a SRV record has for them, and the result itself.
func (r *rack) resolve(name string, args ...string) (map[string]string, result) {
	r.t.Helper()
	args = append([]string{"resolve", name, "--rack", r.name, "--etcd", r.etcd, "-o", "json"}, args...)
	res := parse[result](r.t, run(r.t, args...))
	told := map[string]string{}
	for _, i := range res.Instances {
		for _, e := range i.Endpoints {
			told[i.ID+"."+name] = netip.AddrPortFrom(e.Address, e.Port).String()
		}
	}
	return told, res
}

// asked is what a container's own resolver finds: the same pairs.
func (c *instance) asked(name string) (map[string]string, error) {
	srv, err := c.lookup("SRV", name)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, s := range srv.Services {
		a, err := c.lookup("A", s.Target)
		if err != nil || len(a.Addresses) != 1 {
			return nil, fmt.Errorf("%s: %v %s %w", s.Target, a.Addresses, a.Error, err)
		}
		all[s.Target] = net.JoinHostPort(a.Addresses[0], fmt.Sprint(s.Port))
	}
	return all, nil
}

// What `resolve` says that an asker is told is what it is told by DNS: to a
// container on the same network, to one on another, to one that was left out of
// the registry, and to the host.
func TestResolveIsWhatDNSAnswers(t *testing.T) {
	t.Parallel()
	b, other, app := newBridge(t), newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	// One that is published, one that isn't, and one that is at both networks.
	published := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	hidden := start(t, spec{app: app, service: "web", network: b, labels: map[string]string{"rackdns.port.3000": "http"}})
	both := start(t, spec{app: app, service: "web", network: other, labels: map[string]string{"rackdns.port.3000": "http"}})
	both.attach(b)
	paused := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	if err := paused.cli.ContainerPause(engineContext(t), paused.id); err != nil {
		t.Fatal(err)
	}
	target := func(c *instance) string { return c.id + "." + name }
	at := func(b *bridge, c *instance) string {
		return net.JoinHostPort(c.inspect().NetworkSettings.Networks[b.name].IPAddress, "3000")
	}
	outside := net.JoinHostPort(b.gateway.String(), published.published("3000/tcp"))

	near := start(t, spec{app: app, service: "near", network: b, dns: b.gateway})
	far := start(t, spec{app: app, service: "far", network: other, dns: b.gateway})
	ignored := start(t, spec{network: b, dns: b.gateway, labels: map[string]string{"rackdns.ignore": "1"}})
	for _, tc := range []struct {
		name, kind string
		asker      *instance
		want       map[string]string
	}{
		{"same network", "container", near, map[string]string{target(published): at(b, published), target(hidden): at(b, hidden), target(both): at(b, both)}},
		{"other network", "container", far, map[string]string{target(published): outside, target(both): at(other, both)}},
		{"told to nobody", "container", ignored, map[string]string{target(published): at(b, published), target(hidden): at(b, hidden), target(both): at(b, both)}},
	} {
		eventually(t, tc.name, func() error {
			got, err := tc.asker.asked(name)
			if diff := cmp.Diff(tc.want, got); err == nil && diff != "" {
				err = fmt.Errorf("DNS (-want +got):\n%s", diff)
			}
			return err
		})
		// By the container's name and by its ID.
		for _, from := range []string{tc.asker.name, tc.asker.id} {
			told, res := r.resolve(name, "--from", from)
			if diff := cmp.Diff(tc.want, told); diff != "" || res.Asker.Kind != tc.kind {
				t.Errorf("%s, from %s, a %s (-asked +resolve):\n%s", tc.name, from, res.Asker.Kind, diff)
			}
			if !slices.ContainsFunc(res.Instances, func(v verdict) bool { return v.ID == paused.id && !v.Told && v.Why == "is paused" }) {
				t.Errorf("%s: the paused instance is not left out as such: %+v", tc.name, res.Instances)
			}
		}
	}

	m, err := ask(r.dns, "udp", name, dns.TypeSRV)
	if err != nil {
		t.Fatal(err)
	}
	answered, err := endpoints(m)
	if err != nil {
		t.Fatal(err)
	}
	told, res := r.resolve(name, "--from", "127.0.0.1", "--node", r.node)
	if diff := cmp.Diff(answered, told); diff != "" || res.Asker.Kind != "node" || len(told) != 3 {
		t.Errorf("the host, a %s (-asked +resolve):\n%s", res.Asker.Kind, diff)
	}

	// For people, the same with reasons.
	text := run(t, "resolve", "web", "--rack", r.name, "--etcd", r.etcd, "--from", far.id)
	hasLine(t, text, name[:len(name)-1], "asked from", far.address().String(), far.id, "far."+app)
	hasLine(t, text, "told", both.id, at(other, both), "shares network "+other.name)
	hasLine(t, text, "told", published.id, outside, "is published where the client reaches it")
	hasLine(t, text, "left", hidden.id, "the client is not on its network")
	hasLine(t, text, "left", paused.id, "is paused")
}

// A container that nobody knows is an error, and so is a name.
func TestResolveUnknown(t *testing.T) {
	t.Parallel()
	engine(t)
	r := startRack(t, nil, "--docker", "off")
	nobody := unique("nobody")
	for _, args := range [][]string{
		{"web.shop", "--from", nobody},
		{"web." + nobody},
	} {
		stdout, stderr, code := completed(t, command(t, append([]string{"resolve", "--rack", r.name, "--etcd", r.etcd}, args...)...))
		if code != failed || stdout != "" {
			t.Errorf("%v: exit code %d, %q; want %d and nothing", args, code, stdout, failed)
		}
		checkOneLine(t, stderr, nobody)
	}
}

// The first service that `services` lists has a name that resolves, as scripts
// written for Convox expect.
func TestServicesNamesResolve(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	c := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	name := r.service("web", app)
	eventually(t, "the instance", func() error { return servedBy(r.dns, name, atHost(name, c)) })
	args := []string{app, "--rack", r.name, "--etcd", r.etcd}
	text := run(t, append([]string{"services"}, args...)...)
	if want := fmt.Sprintf("SERVICE  DOMAIN%*sPORTS\nweb      %s  3000:3000\n", len(name)-1-len("DOMAIN")+2, "", name[:len(name)-1]); text != want {
		t.Errorf("%q, want %q", text, want)
	}
	hasLine(t, run(t, append([]string{"ps"}, args...)...), c.id, "web", "running", "ago", r.node, b.gateway.String(), c.published("3000/tcp")+":3000")
}
