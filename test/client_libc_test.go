package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// libc is a C library, whose resolver containers have.
type libc struct {
	name string
	// compiler and its flags make a program that uses it.
	compiler []string
	image    func() (string, error)
}

var libcs = []libc{
	{name: "glibc", compiler: []string{"gcc"}, image: sync.OnceValues(func() (string, error) { return libcImage("glibc", "gcc") })},
	{name: "musl", compiler: []string{"musl-gcc"}, image: sync.OnceValues(func() (string, error) { return libcImage("musl", "musl-gcc", "-static") })},
}

// libcImage imports an image of one program and of the libraries it needs.
func libcImage(name string, compiler ...string) (string, error) {
	program := filepath.Join(runDir, "getaddrinfo-"+name)
	args := append(slices.Clone(compiler[1:]), "-O1", "-o", program, filepath.Join("testdata", "getaddrinfo.c"))
	if msg, err := exec.Command(compiler[0], args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", compiler[0], err, msg)
	}
	files := map[string]string{"lookup": program}
	addLibraries(files, program)
	return importImage("rackdns-test-"+name+":"+runID, files, `ENTRYPOINT ["/lookup"]`)
}

// addLibraries adds the libraries that a program needs. A static one has none,
// and ldd says so by its exit code.
func addLibraries(files map[string]string, program string) {
	if out, err := exec.Command("ldd", program).Output(); err == nil {
		for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(string(out), -1) {
			files[strings.TrimPrefix(lib, "/")] = lib
		}
	}
}

// lookups runs a container of an app that looks up names by its C library, and
// returns what it found, by name. It asks until that is what is wanted: right
// after its start it isn't known yet, and is sent to the host's addresses.
func lookups(t *testing.T, l libc, b *bridge, app string, search, options []string, want map[string]string) map[string]string {
	t.Helper()
	var names []string
	for name, addrs := range want {
		names = append(names, name+"="+addrs)
	}
	needTool(t, l.compiler[0])
	ref, err := l.image()
	if err != nil {
		t.Fatal(err)
	}
	cli := engine(t)
	made, err := cli.ContainerCreate(engineContext(t), &container.Config{
		Image: ref, Cmd: names,
		Labels: map[string]string{label: runID, "rackdns.app": app, "rackdns.service": "asker-" + l.name},
	}, &container.HostConfig{
		NetworkMode: container.NetworkMode(b.name), DNS: []string{b.gateway.String()}, DNSSearch: search, DNSOptions: options,
	}, nil, nil, unique("rackdns-test"))
	if err != nil {
		t.Fatal(err)
	}
	c := &instance{id: made.ID[:12], name: "asker-" + l.name, cli: cli, net: b, t: t}
	t.Cleanup(c.remove)
	c.start()
	eventually(t, "container "+c.name+" has looked up all names", func() error {
		if n := strings.Count(c.logs(), "\n"); n < len(names) {
			return fmt.Errorf("%d of %d", n, len(names))
		}
		return nil
	})
	got := map[string]string{}
	for line := range strings.Lines(c.logs()) {
		name, addrs, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[name] = addrs
	}
	return got
}

// TestLibcResolvers has the resolvers of glibc and of musl in containers look
// up full names, short ones, and ones that search domains complete.
func TestLibcResolvers(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	instances := web(t, 2, app, b)
	var addrs []string
	for _, c := range instances {
		addrs = append(addrs, c.address().String())
	}
	slices.Sort(addrs)
	all, zone := strings.Join(addrs, " "), strings.TrimSuffix(r.zone, ".")
	target := instances[0].id + ".web." + app + "." + zone
	for _, l := range libcs {
		for _, tc := range []struct {
			name            string
			search, options []string
			want            map[string]string
		}{
			{"no search domain", []string{"."}, nil, map[string]string{
				"web." + app + "." + zone: all, target: instances[0].address().String(), "web." + app: all, "web": all,
			}},
			{"the app's domain", []string{app + "." + zone, zone}, nil, map[string]string{"web": all, "web." + app: all}},
			{"ndots", []string{app + "." + zone, zone}, []string{"ndots:5"}, map[string]string{"web": all, "web." + app: all, "web." + app + "." + zone: all}},
		} {
			t.Run(l.name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(tc.want, lookups(t, l, b, app, tc.search, tc.options, tc.want)); diff != "" {
					t.Errorf("addresses (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestLibcWithoutTheRack has the DNS server up while the registry is away, so that it
// answers SERVFAIL for all that could be the rack's. What `rackdns up` sets, which is
// no search list, leaves the names of the world alone; one with the rack's zone does
// not, with musl.
func TestLibcWithoutTheRack(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	startRack(t, nil, "--host-address", b.gateway.String())
	zone := unique("away") + ".convox"
	at := fmt.Sprintf("%s:53", b.gateway)
	demand(t, etcdtest.Listenable(at) == nil, "can't listen on %s: run the tests as root", at)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.7 example.com\n192.0.2.8 a.b.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(
		".:53 {\n bind %s\n errors\n rack %s {\n etcd http://%s\n }\n shortname @rack\n hosts %s {\n fallthrough\n }\n}\n", b.gateway, zone, etcdtest.FreeAddr(t), hosts)))
	eventually(t, "the names of the world", func() error {
		if !p.running() {
			t.Fatalf("the DNS server ended: %v", p.cmd.ProcessState)
		}
		return resolvesTo(at, "example.com.", "192.0.2.7")
	})
	if m, err := ask(at, "udp", "web."+app+"."+zone+".", dns.TypeA); err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Fatalf("the rack's names: %v %v, want SERVFAIL", m, err)
	}
	want := map[string]string{"example.com": "192.0.2.7", "a.b.example.com": "192.0.2.8"}
	for _, l := range libcs {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(want, lookups(t, l, b, app, []string{"."}, nil, want)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			got := lookups(t, l, b, app, []string{app + "." + zone, zone}, []string{"ndots:2"}, want)
			if l.name == "musl" && got["example.com"] == want["example.com"] {
				t.Error("musl finds example.com with a search list, too: this test shows nothing")
			}
		})
	}
}

// TestAutoPath has the server complete search lists: the first question, which
// is below the app's domain, is answered with what the name itself has.
func TestAutoPath(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, nil, "--host-address", b.gateway.String())
	instances := web(t, 1, app, b)
	zone := strings.TrimSuffix(r.zone, ".")
	at := fmt.Sprintf("%s:53", b.gateway)
	demand(t, etcdtest.Listenable(at) == nil, "can't listen on %s: run the tests as root", at)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.7 api.example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(
		".:53 {\n bind %s\n errors\n autopath @rack\n rack %s {\n etcd %s\n node %s\n }\n hosts %s {\n fallthrough\n }\n}\n", b.gateway, zone, r.etcd, r.node, hosts)))
	ready(t, p, at, r.zone)
	for _, l := range libcs {
		want := map[string]string{"web": instances[0].address().String(), "api.example.net": "192.0.2.7"}
		got := lookups(t, l, b, app, []string{app + "." + zone, zone}, []string{"ndots:5"}, want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.name, diff)
		}
	}
}
