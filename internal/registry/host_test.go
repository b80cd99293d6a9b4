package registry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const (
	hostPrefix   = "/rackdns/v1/acme/instances/@api/"
	hostKey      = hostPrefix + "default/legacy/10.0.5.1~8080"
	olderHostKey = hostPrefix + "legacy~10.0.5.1"
)

func host(at string) registry.Instance {
	return registry.HostInstance("default", "legacy", netip.MustParseAddrPort(at))
}

// registered returns what is registered at hostKey, with the rest of its lease.
func registered(t *testing.T, c *clientv3.Client) (*registry.Instance, *clientv3.LeaseTimeToLiveResponse) {
	t.Helper()
	ctx := context.Background()
	r, err := c.Get(ctx, hostKey)
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("%d keys, %v", len(r.Kvs), err)
	}
	i, err := registry.DecodeInstance(registry.Key{Kind: registry.KindInstance, Owner: registry.NodeAPI, Name: "default/legacy/10.0.5.1~8080"}, r.Kvs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.TimeToLive(ctx, clientv3.LeaseID(r.Kvs[0].Lease), clientv3.WithAttachedKeys())
	if err != nil {
		t.Fatal(err)
	}
	return i, left
}

// leases checks how many there are.
func leases(t *testing.T, c *clientv3.Client, want int) {
	t.Helper()
	r, err := c.Leases(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Leases) != want {
		t.Errorf("there are %d leases, want %d", len(r.Leases), want)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, client, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), etcd.Client(), context.Background()
	register := func(i registry.Instance, ttl time.Duration) {
		t.Helper()
		if err := c.Register(ctx, i, ttl); err != nil {
			t.Fatal(err)
		}
	}
	first := host("10.0.5.1:8080")
	first.Tags, first.Release, first.Weight = map[string]string{"az": "a"}, "R1", 10
	register(first, time.Minute)
	is, left := registered(t, client)
	want := first
	if diff := cmp.Diff(&want, is, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmpopts.IgnoreFields(registry.Instance{}, "Started", "Observed"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if time.Since(is.Observed) > time.Minute || !is.Started.Equal(is.Observed) {
		t.Errorf("started %s, observed %s", is.Started, is.Observed)
	}
	if left.GrantedTTL != 60 || !is.Serving() {
		t.Errorf("TTL %d, serving: %t", left.GrantedTTL, is.Serving())
	}

	// A renewal overwrites, but for the weight, and keeps the lease.
	register(host("10.0.5.1:8080"), time.Minute)
	again, renewed := registered(t, client)
	if len(again.Tags) != 0 || again.Release != "" || again.Weight != 10 || again.ID != is.ID {
		t.Errorf("renewed to %+v", again)
	}
	if !again.Started.Equal(is.Started) || !again.Observed.After(is.Observed) {
		t.Errorf("started %s, observed %s", again.Started, again.Observed)
	}
	if renewed.ID != left.ID {
		t.Error("a renewal takes another lease")
	}

	// Another TTL needs another lease, and leaves none behind.
	heavier := host("10.0.5.1:8080")
	heavier.Weight = 20
	register(heavier, 2*time.Minute)
	is, left = registered(t, client)
	if is.Weight != 20 || left.GrantedTTL != 120 {
		t.Errorf("weight %d, TTL %d", is.Weight, left.GrantedTTL)
	}
	leases(t, client, 1)

	// Each host has a lease of its own, and an ID of its own.
	other := host("[2001:db8::1]:8080")
	register(other, time.Minute)
	if other.ID == is.ID || !registry.IsLabel(other.ID) {
		t.Errorf("ID %s", other.ID)
	}
	leases(t, client, 2)

	for range 2 {
		err := c.Deregister(ctx, "default", "legacy", netip.MustParseAddrPort("10.0.5.1:8080"))
		leases(t, client, 1)
		if is, want := errors.Is(err, registry.ErrNotRegistered), len(keys(t, etcd, hostKey)) == 0; err != nil && !is || !want {
			t.Errorf("error %v, gone: %t", err, want)
		}
	}
	if err := c.Deregister(ctx, "default", "legacy", netip.MustParseAddrPort("[::ffff:10.0.5.1]:0")); !errors.Is(err, registry.ErrNotRegistered) ||
		err.Error() != "service legacy of app default at 10.0.5.1: is not registered in rack acme" {
		t.Errorf("error %v", err)
	}
}

// What tells one registration from another: none takes another's place, and
// each ends by itself.
func TestRegisterSideBySide(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), context.Background()
	at := netip.MustParseAddrPort
	all := map[string]registry.Instance{
		"shop/api/10.0.5.1~80":      registry.HostInstance("shop", "api", at("10.0.5.1:80")),
		"bank/api/10.0.5.1~80":      registry.HostInstance("bank", "api", at("10.0.5.1:80")),
		"shop/api/10.0.5.1~81":      registry.HostInstance("shop", "api", at("10.0.5.1:81")),
		"shop/web/10.0.5.1~80":      registry.HostInstance("shop", "web", at("10.0.5.1:80")),
		"shop/api/10.0.5.11~80":     registry.HostInstance("shop", "api", at("10.0.5.11:80")),
		"shop/api/2001:db8::1~8080": registry.HostInstance("shop", "api", at("[2001:db8::1]:8080")),
	}
	ids := map[string]bool{}
	for _, i := range all {
		if err := c.Register(ctx, i, time.Minute); err != nil {
			t.Fatal(err)
		}
		ids[i.ID] = true
	}
	if len(ids) != len(all) {
		t.Errorf("%d IDs of %d registrations", len(ids), len(all))
	}
	has := func() []string {
		var names []string
		for key := range keys(t, etcd, hostPrefix) {
			names = append(names, strings.TrimPrefix(key, hostPrefix))
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(all)), has()); diff != "" {
		t.Fatalf("registered (-want +got):\n%s", diff)
	}
	for _, tc := range []struct{ app, at, gone, err string }{
		{"shop", "10.0.5.1:0", "", "service api of app shop at 10.0.5.1: is registered at several ports, 80, 81: say which"},
		{"shop", "10.0.5.1:82", "", "service api of app shop at 10.0.5.1:82: is not registered in rack acme"},
		{"shop", "10.0.5.1:81", "shop/api/10.0.5.1~81", ""},
		{"shop", "10.0.5.1:0", "shop/api/10.0.5.1~80", ""},
		{"shop", "10.0.5.1:0", "", "service api of app shop at 10.0.5.1: is not registered in rack acme"},
		{"shop", "[2001:db8::1]:0", "shop/api/2001:db8::1~8080", ""},
	} {
		delete(all, tc.gone)
		err := c.Deregister(ctx, tc.app, "api", at(tc.at))
		if got := fmt.Sprint(err); err != nil && got != tc.err || err == nil && tc.err != "" {
			t.Errorf("%s at %s: error %v, want %q", tc.app, tc.at, err, tc.err)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(all)), has()); diff != "" {
			t.Errorf("%s at %s: registered (-want +got):\n%s", tc.app, tc.at, diff)
		}
	}
}

// A key of before, without app and port, is what its value says: a renewal
// moves it, and somebody else's stays.
func TestRegisterOlder(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, client, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), etcd.Client(), context.Background()
	for _, tc := range []struct {
		name, app string
		port      uint16
		weight    int
		left      bool
	}{
		{"the same", "default", 8080, 7, false},
		{"another app's", "shop", 8080, 1, true},
		{"another port", "default", 9090, 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			older := registry.HostInstance(tc.app, "legacy", netip.AddrPortFrom(netip.MustParseAddr("10.0.5.1"), tc.port))
			older.Weight, older.Started = 7, time.Now().UTC()
			value, err := registry.Encode(older)
			if err != nil {
				t.Fatal(err)
			}
			put(t, client, olderHostKey, string(value))
			if err := c.Register(ctx, host("10.0.5.1:8080"), time.Minute); err != nil {
				t.Fatal(err)
			}
			if is, _ := registered(t, client); is.Weight != tc.weight {
				t.Errorf("weight %d, want %d", is.Weight, tc.weight)
			}
			if _, left := keys(t, etcd, olderHostKey)[olderHostKey]; left != tc.left {
				t.Errorf("the older key is left: %t", left)
			}
			if err := c.Deregister(ctx, "default", "legacy", netip.MustParseAddrPort("10.0.5.1:8080")); err != nil {
				t.Error(err)
			}
			err = c.Deregister(ctx, tc.app, "legacy", netip.MustParseAddrPort("10.0.5.1:0"))
			if gone := errors.Is(err, registry.ErrNotRegistered); gone == tc.left || err != nil && !gone {
				t.Errorf("removing the older one: %v", err)
			}
			if all := keys(t, etcd, hostPrefix); len(all) > 0 {
				t.Errorf("registered is still %v", all)
			}
		})
	}
}

func TestRegisterOverOthers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, client, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), etcd.Client(), context.Background()
	shared, err := client.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{hostKey: `{"mine":1,"weight":"heavy"}`, "/mine": "x"} {
		if _, err := client.Put(ctx, key, value, clientv3.WithLease(shared.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Register(ctx, host("10.0.5.1:8080"), time.Minute); err != nil {
		t.Fatal(err)
	}
	is, left := registered(t, client)
	if left.ID == shared.ID {
		t.Error("takes a lease on which there is something else")
	}
	if is.Weight != registry.DefaultWeight || !strings.Contains(keys(t, etcd, hostKey)[hostKey], `"mine":1`) {
		t.Errorf("registered %s", keys(t, etcd, hostKey)[hostKey])
	}
	if _, ok := keys(t, etcd, "/mine")["/mine"]; !ok {
		t.Error("what else hung on the lease is gone")
	}
	if err := c.Deregister(ctx, "default", "legacy", netip.MustParseAddrPort("10.0.5.1:8080")); err != nil {
		t.Fatal(err)
	}
	leases(t, client, 1)
}

func TestRegisterExpires(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	if err := c.Register(context.Background(), host("10.0.5.1:8080"), time.Second); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, "the end of the TTL", func() error {
		if n := len(keys(t, etcd, "/rackdns/")); n > 0 {
			return fmt.Errorf("%d keys are left", n)
		}
		return nil
	})
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), context.Background()
	for _, tc := range []struct {
		name   string
		i      registry.Instance
		change func(*registry.Instance)
		want   string
	}{
		{"loopback", host("127.0.0.1:80"), nil, "host 127.0.0.1: is a loopback address"},
		{"unspecified", host("0.0.0.0:80"), nil, "host 0.0.0.0: is unspecified"},
		{"multicast", host("[ff02::1]:80"), nil, "host ff02::1: is a multicast address"},
		{"broadcast", host("255.255.255.255:80"), nil, "host 255.255.255.255: is the broadcast address"},
		{"link-local", host("[fe80::1]:80"), nil, "host fe80::1: is link-local and means nothing without a zone"},
		{"port", host("10.0.5.1:0"), nil, "port 0: no container listens there"},
		{"weight", host("10.0.5.1:80"), func(i *registry.Instance) { i.Weight = 101 }, "weight 101: not in 0 to 100"},
		{"answers", host("10.0.5.1:80"), func(i *registry.Instance) { i.Answers = 1001 }, "answers 1001: not in 0 to 1000"},
		{"port name", host("10.0.5.1:80"), func(i *registry.Instance) { i.Ports[0].Name = "a-name-of-16-chr" }, `name of a port "a-name-of-16-chr": the name of a port has 15 characters at most`},
		{"service", registry.HostInstance("default", "a b", netip.MustParseAddrPort("10.0.5.1:80")), nil, `service "a b": only a-z, 0-9 and inner dashes make a DNS label`},
		{"app", registry.HostInstance("dns", "a", netip.MustParseAddrPort("10.0.5.1:80")), nil, `app "dns": is reserved`},
		{"no address", registry.Instance{ID: "x", App: "a", Service: "b", Namespace: "a"}, nil, `service "b" at invalid IP: contradicts its key`},
		{"size", host("10.0.5.1:80"), func(i *registry.Instance) { i.Release = strings.Repeat("x", registry.MaxValue) }, "value over 64 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.i)
			}
			if err := c.Register(ctx, tc.i, time.Minute); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
	if err := c.Register(ctx, host("10.0.5.1:80"), 1500*time.Millisecond); err == nil || !strings.Contains(err.Error(), "TTL 1.5s") {
		t.Errorf("error %v", err)
	}
	if err := c.Deregister(ctx, "default", "a b", netip.MustParseAddrPort("10.0.5.1:80")); err == nil || !strings.Contains(err.Error(), `"a b"`) {
		t.Errorf("error %v", err)
	}
	if left := keys(t, etcd, "/rackdns/"); len(left) > 0 {
		t.Errorf("registered: %v", left)
	}
	leases(t, etcd.Client(), 0)
}

// A write that isn't permitted leaves no lease behind.
func TestRegisterWithoutTheRight(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	u := enableAuth(t, etcd)
	c := open(t, u.config)
	if err := c.Register(context.Background(), host("10.0.5.1:8080"), time.Minute); err == nil || !strings.Contains(err.Error(), `user "reader" has no role`) {
		t.Errorf("error %v", err)
	}
	leases(t, u.root, 0)
}

// Many that register one host at once all succeed, and share one lease.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client, done := etcd.Client(), make(chan error)
	const clients = 5
	for n := range clients {
		c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
		go func() {
			done <- c.Register(context.Background(), host("10.0.5.1:8080"), time.Duration(1+n%2)*time.Minute)
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	registered(t, client)
	leases(t, client, 1)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c, client, ctx := open(t, registry.Config{Endpoints: etcd.Endpoints()}), etcd.Client(), context.Background()
	const nodes = 130
	for n := range nodes {
		name := fmt.Sprintf("node-%03d", n)
		put(t, client, c.Layout().Node(name), fmt.Sprintf(`{"node":%q,"engine":"E","addresses":["10.0.2.10"],"version":"v1"}`, name))
	}
	put(t, client, c.Layout().Node("broken"), "{")
	put(t, client, c.Layout().Instance("node-001", "a"), "x")
	put(t, client, c.Layout().Instance("node-129", "a"), "x")
	put(t, client, c.Layout().Instance("node-129", "b"), "x")
	got, err := c.Nodes(ctx)
	if err != nil || len(got) != nodes {
		t.Fatalf("%d nodes, %v; want %d", len(got), err, nodes)
	}
	for n, node := range got {
		if want := map[int]int64{1: 1, 129: 2}[n]; node.Node.Node != fmt.Sprintf("node-%03d", n) || node.Instances != want {
			t.Errorf("number %d is %s with %d instances, want %d", n, node.Node.Node, node.Instances, want)
		}
	}
	if err := c.DrainNode(ctx, registry.Drained{Node: "node-999"}, false); !errors.Is(err, registry.ErrNoSuchNode) {
		t.Errorf("error %v", err)
	}
}
