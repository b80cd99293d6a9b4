package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func TestSupported(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][2]bool{
		"3.4.23": {true, false}, "3.7.3": {true, false}, "3.3.10": {}, "2.3.8": {}, "3.8.0": {false, true}, "4.0.0": {false, true}, "": {}, "x.y": {},
	} {
		if ok, newer := supported(version); [2]bool{ok, newer} != want {
			t.Errorf("%s: %t, newer %t; want %v", version, ok, newer, want)
		}
	}
}

// A member that is away is named, also where it isn't among the endpoints given.
func TestMembers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	finds(t, lookAt(etcd.Members[0].Endpoint), "registry-members", Passed, "3 members")
	etcd.Members[1].Kill()
	finds(t, lookAt(etcd.Members[0].Endpoint), "registry-members", Warned, "member m1", etcd.Members[1].Endpoint)
	etcd.Members[2].Kill()
	finds(t, lookAt(etcd.Members[0].Endpoint), "registry", Failed, "can't read the registry")
}

// An alarm is failed as long as it is on.
func TestAlarms(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := etcd.Client()
	list, err := c.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, alarm := range []etcdserverpb.AlarmType{etcdserverpb.AlarmType_NOSPACE, etcdserverpb.AlarmType_CORRUPT} {
		set := func(action etcdserverpb.AlarmRequest_AlarmAction) {
			t.Helper()
			_, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Alarm(t.Context(),
				&etcdserverpb.AlarmRequest{Action: action, MemberID: list.Members[0].ID, Alarm: alarm})
			if err != nil {
				t.Fatal(err)
			}
		}
		set(etcdserverpb.AlarmRequest_ACTIVATE)
		finds(t, lookAt(etcd.Endpoints()...), "registry-alarms", Failed, "member m0", alarm.String())
		set(etcdserverpb.AlarmRequest_DEACTIVATE)
		finds(t, lookAt(etcd.Endpoints()...), "registry-alarms", Passed)
	}
}

// A database that is nearly full is told before it is.
func TestNearlyFull(t *testing.T) {
	t.Parallel()
	const quota = 16 << 20
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.QuotaBackendBytes = quota })
	c := etcd.Client()
	value := string(make([]byte, 256<<10))
	for n := 0; ; n++ {
		if _, err := c.Put(t.Context(), strconv.Itoa(n), value); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Status(t.Context(), etcd.Members[0].Endpoint); err != nil {
			t.Fatal(err)
		} else if s.DbSize > quota*85/100 {
			break
		}
	}
	finds(t, lookAt(etcd.Endpoints()...), "registry-alarms", Warned, "member m0", "of the 16 MB")
}

func TestVersions(t *testing.T) {
	t.Parallel()
	old := etcdtest.StartProcesses(t, etcdtest.Debian, 1)
	finds(t, lookAt(old.Endpoints()...), "registry-version", Passed, "etcd 3.4.")
	finds(t, lookAt(old.Endpoints()...), "registry-members", Passed, "1 member")
	finds(t, lookAt(old.Endpoints()...), "registry-alarms", Passed)
	finds(t, lookAt(old.Endpoints()...), "clock", Passed, "etcd's is ours")
}

func TestLatency(t *testing.T) {
	t.Parallel()
	p := etcdtest.Start(t, 1, nil).Proxied()[0]
	finds(t, lookAt(p.URL()), "registry-latency", Passed)
	p.Slow(300 * time.Millisecond)
	finds(t, lookAt(p.URL()), "registry-latency", Warned, "a read takes")
}

func TestApart(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]string{
		-90 * time.Second: "1m30s behind ours", time.Hour: "1h0m0s ahead of ours",
	} {
		if got := apart(ahead); got != want {
			t.Errorf("%s: %q, want %q", ahead, got, want)
		}
	}
}

// secured starts an etcd that wants certificates of an authority.
func secured(t *testing.T, ca *etcdtest.Authority) Config {
	t.Helper()
	cert, key := ca.Issue()
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) {
		c.ListenClientUrls[0].Scheme, c.AdvertiseClientUrls[0].Scheme = "https", "https"
		c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = cert, key
		c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = ca.CAFile, true
	})
	cfg := lookAt(etcd.Endpoints()...)
	cfg.Registry.CAFile, cfg.Registry.CertFile, cfg.Registry.KeyFile = ca.CAFile, cert, key
	return cfg
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	cfg := secured(t, etcdtest.LastingAuthority(t, 90*24*time.Hour))
	finds(t, cfg, "registry-certificates", Passed, "3 certificates")
	finds(t, cfg, "registry-protection", Passed, "TLS")
	finds(t, cfg, "registry-roles", Skipped, "certificate")
	finds(t, cfg, "registry-members", Passed)
	finds(t, cfg, "clock", Passed, "etcd's is ours")
	// It is told whose they are, each.
	soon := secured(t, etcdtest.NewAuthority(t))
	for _, where := range []string{soon.Registry.CAFile, soon.Registry.CertFile, soon.Registry.Endpoints[0]} {
		finds(t, soon, "registry-certificates", Warned, where, "in 0 days")
	}
	// One that has ended is why the registry can't be read.
	ended := cfg
	ended.Registry.CertFile, ended.Registry.KeyFile = etcdtest.LastingAuthority(t, -time.Minute).Issue()
	finds(t, ended, "registry-certificates", Failed, ended.Registry.CertFile, "ended at")
}

// TestRoles has a user for each of the roles: the admin's is enough.
func TestRoles(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := etcd.Client()
	roles, err := layout(t).Roles(nil)
	if err != nil {
		t.Fatal(err)
	}
	setter, err := registry.Open(registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = setter.Close() }()
	for _, r := range roles {
		if err := setter.SetUpRole(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for user, role := range map[string]string{"root": "root", "reader": "rackdns-acme-reader", "admin": "rackdns-acme-admin"} {
		if _, err := c.UserAdd(t.Context(), user, "p-"+user); err != nil {
			t.Fatal(err)
		}
		if _, err := c.UserGrantRole(t.Context(), user, role); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := func(user string) Config {
		cfg := lookAt(etcd.Endpoints()...)
		cfg.Registry.Username, cfg.Registry.PasswordFile = user, filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(cfg.Registry.PasswordFile, []byte("p-"+user), 0o600); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	finds(t, as("admin"), "registry-roles", Passed, "user admin")
	finds(t, as("root"), "registry-roles", Passed, "user root")
	finds(t, as("reader"), "registry-roles", Warned, "user reader may not write what is below "+layout(t).Base())
	finds(t, as("admin"), "registry-protection", Warned, "without TLS")
	finds(t, as("admin"), "registry-members", Passed)
	finds(t, as("admin"), "registry-alarms", Passed)
	finds(t, lookAt(etcd.Endpoints()...), "registry", Failed, "none is configured")
}

// An agent that isn't heard of is told before its lease ends.
func TestContact(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := etcd.Client()
	lease, err := c.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), layout(t).Base()+node1, node("node-1", ""), clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	cfg := lookAt(etcd.Endpoints()...)
	finds(t, cfg, "nodes", Passed, "1 node")
	// A host with an engine needs one of its own.
	cfg.NoEngine, cfg.Options.Node = false, "node-2"
	finds(t, cfg, "nodes", Warned, "this host, node-2, has no agent")
	short, err := c.Grant(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(context.Background(), layout(t).Base()+node2, node("node-2", ""), clientv3.WithLease(short.ID)); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, "its silence is told", func() error {
		for _, r := range examine(t, cfg, "nodes") {
			if r.is(Warned, "node-2", "heard of") {
				return nil
			}
		}
		return context.DeadlineExceeded
	})
}
