package test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// secondary is a name server of another make that has a zone from ours.
type secondary struct {
	tool string
	// config returns its configuration, to be written to a file in dir, args the
	// command's arguments.
	config func(zone, dir string, listen, primary netip.AddrPort) string
	args   func(config string) []string
}

var secondaries = []secondary{
	{
		// BIND looks by itself every five minutes at most.
		tool: "named",
		config: func(zone, dir string, listen, primary netip.AddrPort) string {
			return fmt.Sprintf(`options {
  directory "%[2]s"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
  listen-on port %[3]d { 127.0.0.1; }; listen-on-v6 { none; };
};
controls { };
zone "%[1]s" { type secondary; file "zone.db"; primaries port %[4]d { 127.0.0.1; }; };
`, zone, dir, listen.Port(), primary.Port())
		},
		args: func(config string) []string { return []string{"-g", "-n", "1", "-c", config} },
	},
	{
		tool: "nsd",
		config: func(zone, dir string, listen, primary netip.AddrPort) string {
			return fmt.Sprintf(`server:
  ip-address: %[3]s
  port: %[4]d
  server-count: 1
  username: ""
  chroot: ""
  pidfile: ""
  database: ""
  zonesdir: "%[2]s"
  zonelistfile: "%[2]s/zone.list"
  xfrdfile: "%[2]s/xfrd.state"
  xfrdir: "%[2]s"
remote-control:
  control-enable: no
zone:
  name: "%[1]s"
  zonefile: "zone.db"
  allow-notify: 127.0.0.1 NOKEY
  request-xfr: 127.0.0.1@%[5]d NOKEY
`, zone, dir, listen.Addr(), listen.Port(), primary.Port())
		},
		args: func(config string) []string { return []string{"-d", "-c", config} },
	},
	{
		tool: "knotd",
		config: func(zone, dir string, listen, primary netip.AddrPort) string {
			return fmt.Sprintf(`server:
    listen: 127.0.0.1@%[3]d
    rundir: "%[2]s"
database:
    storage: "%[2]s"
remote:
  - id: primary
    address: 127.0.0.1@%[4]d
acl:
  - id: notify
    address: 127.0.0.1
    action: notify
zone:
  - domain: %[1]s
    storage: "%[2]s"
    master: primary
    acl: notify
`, zone, dir, listen.Port(), primary.Port())
		},
		args: func(config string) []string { return []string{"-c", config} },
	},
}

func (s *secondary) run(t *testing.T, zone, listen, primary string) *process {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, s.tool+".conf")
	text := s.config(strings.TrimSuffix(zone, "."), dir, netip.MustParseAddrPort(listen), netip.MustParseAddrPort(primary))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return launchCommand(t, exec.Command(s.tool, s.args(config)...))
}

// awkward are entries of which not every record can be told: a port of 63
// characters, as an agent of an older version takes, and names that are valid each
// and too long together.
func awkward() []*registry.Instance {
	long := entrant("shop", "a-long-name", 41009)
	long.Ports[0].Name = strings.Repeat("p", 63)
	deep := entrant("shop", strings.Repeat("i", 63), 41010)
	deep.App, deep.Namespace, deep.Service = strings.Repeat("a", 63), strings.Repeat("a", 63), strings.Repeat("s", 63)
	return []*registry.Instance{long, deep}
}

// TestSecondaries has name servers of other makes serve a rack's zone: they take
// it whatever is in the registry, follow a change at once, and also a registry that
// was made anew, whose revisions are small again.
func TestSecondaries(t *testing.T) {
	t.Parallel()
	for _, s := range secondaries {
		t.Run(s.tool, func(t *testing.T) {
			t.Parallel()
			needTool(t, s.tool)
			etcd := etcdtest.Start(t, 1, nil)
			l := newLedger(t, etcd, unique("r"))
			for range 50 {
				l.put(entrant("other", "x", 40000))
			}
			l.put(entrant("shop", "a1", 41001))
			for _, i := range awkward() {
				l.put(i)
			}
			r := newReplica(t, l.layout.Rack(), etcd.Endpoints())
			at := etcdtest.FreeAddr(t)
			text := r.text
			r.text = func(properties string) string {
				return strings.Replace(text(properties), "    rack {", fmt.Sprintf("    transfer {\n        to %s\n    }\n    rack {", at), 1)
			}
			r.configure("preserve 0", "state "+t.TempDir())
			r.process = launch(t, "dns", "-conf", r.conf)
			ready(t, r.process, r.server, r.zone)
			p := s.run(t, r.zone, at, r.server)
			name := "web.shop." + r.zone
			follows := func(what string) {
				t.Helper()
				within(t, soon, what, func() error {
					if !p.running() {
						t.Fatalf("%s ended: %v\n%s", s.tool, p.cmd.ProcessState, p.out.String())
					}
					return sameAs(r.server, at, r.zone, name)
				})
			}
			follows("the zone")
			before := serialAt(t, at, r.zone)
			put := func(id string, port uint16) {
				t.Helper()
				l.put(entrant("shop", id, port))
				eventually(t, id, func() error { return resolvesTo(r.server, id+"."+name, hosted) })
			}
			put("a2", 41002)
			follows("a new instance")
			if after := serialAt(t, at, r.zone); int32(after-before) <= 0 {
				t.Errorf("serial %d after %d", after, before)
			}
			before = serialAt(t, at, r.zone)

			etcd.Kill()
			etcd.Members[0].Dir = filepath.Join(t.TempDir(), "anew")
			etcd.Start()
			l = newLedger(t, etcd, l.layout.Rack())
			put("b1", 41003)
			follows("a registry made anew")
			if after := serialAt(t, at, r.zone); int32(after-before) <= 0 {
				t.Errorf("serial %d after %d, over a new registry", after, before)
			}
			before = serialAt(t, at, r.zone)

			// And so does a server that starts with what it kept on disk.
			r.stop(syscall.SIGTERM)
			r.process = launch(t, "dns", "-conf", r.conf)
			ready(t, r.process, r.server, r.zone)
			put("b2", 41004)
			follows("a server that was restarted")
			if after := serialAt(t, at, r.zone); int32(after-before) <= 0 {
				t.Errorf("serial %d after %d, over a restart", after, before)
			}
		})
	}
}

// sameAs checks that two servers say the same of the zone's serial and of a name.
func sameAs(primary, other, zone, name string) error {
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{zone, dns.TypeSOA}, {zone, dns.TypeNS}, {name, dns.TypeA}, {name, dns.TypeSRV}, {"_http._tcp." + name, dns.TypeSRV}, {"ns.dns." + zone, dns.TypeA}} {
		want, err := found(primary, q.name, q.qtype)
		if err != nil {
			return err
		}
		got, err := found(other, q.name, q.qtype)
		if err != nil {
			return err
		}
		if w, g := recordsOf(want), recordsOf(got); w != g {
			return fmt.Errorf("%s %s: %s, want %s", q.name, dns.TypeToString[q.qtype], g, w)
		}
	}
	return nil
}

// recordsOf is an answer as text, in order.
func recordsOf(m *dns.Msg) string {
	var all []string
	for _, rr := range m.Answer {
		all = append(all, strings.ToLower(strings.ReplaceAll(rr.String(), "\t", " ")))
	}
	return strings.Join(slices.Sorted(slices.Values(all)), "; ")
}

func serialAt(t *testing.T, server, zone string) uint32 {
	t.Helper()
	m, err := found(server, zone, dns.TypeSOA)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range m.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial
		}
	}
	t.Fatalf("no SOA in %v", m)
	return 0
}
