package index

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var layout = func() registry.Layout {
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		panic(err)
	}
	return l
}()

// follow returns an index over a registry that has been read.
func follow(t testing.TB, endpoints []string) *Index {
	t.Helper()
	x, err := Open(Config{
		Registry: registry.Config{Endpoints: endpoints, Rack: "acme"},
		Options:  Options{Node: "n1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Start()
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	<-x.Synced()
	return x
}

func put(t testing.TB, c *clientv3.Client, i *registry.Instance) int64 {
	t.Helper()
	value, err := registry.Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	return putRaw(t, c, layout.Instance(i.Node, i.ID), string(value))
}

func putRaw(t testing.TB, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	r, err := c.Put(context.Background(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func remove(t testing.TB, c *clientv3.Client, key string) int64 {
	t.Helper()
	r, err := c.Delete(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// web returns a serving instance that is published at 10.0.0.1.
func web(id string) *registry.Instance {
	return &registry.Instance{
		ID: id, Node: "n1", App: "shop", Service: "web", Status: "running", Weight: 1,
		Ports: []registry.Port{{
			Protocol: "tcp", Container: 3000,
			Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000}},
		}},
	}
}

// reaches waits until the index knows the registry up to a revision.
func reaches(t *testing.T, x *Index, revision int64) *Snapshot {
	t.Helper()
	etcdtest.Eventually(t, "the index", func() error {
		if s := x.Snapshot(); s.Revision() < revision {
			return fmt.Errorf("at revision %d, want %d", s.Revision(), revision)
		}
		return nil
	})
	return x.Snapshot()
}

// hasSerial waits until the index has that serial, which it must not exceed.
func hasSerial(t *testing.T, what string, x *Index, want int64) {
	t.Helper()
	etcdtest.Eventually(t, what, func() error {
		got := x.Snapshot().Serial()
		if got > want {
			t.Fatalf("%s: serial %d, want %d", what, got, want)
		}
		if got < want {
			return fmt.Errorf("serial %d, want %d", got, want)
		}
		return nil
	})
}

// TestSerial checks that the serial moves only for what DNS shows, and that a
// server that starts later has the same one as those that watched.
func TestSerial(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	old := follow(t, etcd.Endpoints())
	want, imageAt := int64(0), int64(0)
	a, b := web("a"), web("b")
	for _, step := range []struct {
		name  string
		do    func() int64
		shows bool
	}{
		{"a comes", func() int64 { return put(t, client, a) }, true},
		{"b comes", func() int64 { return put(t, client, b) }, true},
		{"a has another release", func() int64 { a.Release = "R2"; return put(t, client, a) }, false},
		{"a has another tag", func() int64 { a.Tags = map[string]string{"x": "y"}; return put(t, client, a) }, false},
		{"a has another port", func() int64 { a.Ports[0].Bindings[0].Port++; return put(t, client, a) }, true},
		{"another rack changes", func() int64 { return putRaw(t, client, "/rackdns/v1/acme2/instances/n/a", "x") }, false},
		{"a node comes", func() int64 { return putRaw(t, client, layout.Node("n2"), `{"node":"n2"}`) }, false},
		{"nonsense comes", func() int64 { return putRaw(t, client, layout.Instance("n1", "c"), "nonsense") }, false},
		{"nonsense stays", func() int64 { return putRaw(t, client, layout.Instance("n1", "c"), "worse") }, false},
		{"a drains", func() int64 { a.Draining = true; return put(t, client, a) }, true},
		{"a is unhealthy, too", func() int64 { a.Health = "unhealthy"; return put(t, client, a) }, false},
		{"b goes", func() int64 { return remove(t, client, layout.Instance("n1", "b")) }, true},
		{"nonsense goes", func() int64 { return remove(t, client, layout.Instance("n1", "c")) }, false},
		{"a service is declared", func() int64 {
			return putRaw(t, client, layout.Service("shop", "web"), `{"app":"shop","service":"web"}`)
		}, true},
		{"much happens elsewhere", func() int64 {
			var r int64
			for range 300 {
				r = putRaw(t, client, "/elsewhere", "x")
			}
			return r
		}, false},
		{"a's image changes often", func() int64 {
			var r int64
			for n := range 200 {
				a.Image = fmt.Sprint(n)
				r = put(t, client, a)
			}
			imageAt = r
			return r
		}, false},
	} {
		r := step.do()
		if step.shows {
			want = r
		}
		// What isn't this rack's is not seen, so something has to follow it.
		last := putRaw(t, client, layout.Node("n9"), `{"node":"n9"}`)
		if got := reaches(t, old, last).Serial(); got != want {
			t.Errorf("%s: serial %d, want %d", step.name, got, want)
		}
		hasSerial(t, step.name+": a server that starts now", follow(t, etcd.Endpoints()), want)
	}
	// The history is gone, but for those who knew it nothing has changed. The
	// others agree on the last change that may have shown, however many of
	// those that don't there are in between.
	r := putRaw(t, client, "/elsewhere", "x")
	if _, err := client.Compact(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	hasSerial(t, "a server that starts without a history", follow(t, etcd.Endpoints()), imageAt)
	a.Image = "another"
	put(t, client, a)
	hasSerial(t, "a server that starts later", follow(t, etcd.Endpoints()), imageAt)
	if got := old.Snapshot().Serial(); got != want {
		t.Errorf("a compaction moved the serial from %d to %d", want, got)
	}
	// Of an empty rack only the history tells.
	remove(t, client, layout.Instance("n1", "a"))
	want = remove(t, client, layout.Service("shop", "web"))
	putRaw(t, client, layout.Node("n9"), `{"node":"n9"}`)
	for what, x := range map[string]*Index{"a server that has seen all go": old, "one that starts now": follow(t, etcd.Endpoints())} {
		hasSerial(t, what, x, want)
	}
}

// TestInvalidValues checks that a bad value harms nothing else, replaces what
// was good, and is counted for as long as it is there.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	put(t, client, web("a"))
	put(t, client, web("b"))
	putRaw(t, client, layout.Instance("n1", "bad"), "{")
	x := follow(t, etcd.Endpoints())
	ids := func(s *Snapshot) string {
		var all string
		for _, e := range s.Lookup("web.shop", Stranger()).Endpoints {
			all += e.ID()
		}
		return fmt.Sprintf("%s, %d invalid", all, s.Invalid())
	}
	if got := ids(x.Snapshot()); got != "ab, 1 invalid" {
		t.Errorf("at first: %s", got)
	}
	if all := x.Snapshot().InvalidEntries(); len(all) != 1 || all[0].Key != layout.Instance("n1", "bad") || all[0].Why == "" {
		t.Errorf("skipped: %v", all)
	}
	r := putRaw(t, client, layout.Instance("n1", "b"), `{"id":"b","node":"n1","app":"shop","service":"web","weight":101}`)
	if got := ids(reaches(t, x, r)); got != "a, 2 invalid" {
		t.Errorf("b gone bad: %s", got)
	}
	put(t, client, web("b"))
	r = remove(t, client, layout.Instance("n1", "bad"))
	if got := ids(reaches(t, x, r)); got != "ab, 0 invalid" {
		t.Errorf("all good again: %s", got)
	}
}

// TestAcquire checks that equal configurations share one watch, and that
// the last user ends it.
func TestAcquire(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	cfg := Config{Registry: registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)}
	x, releaseX, err := Acquire(cfg)
	if err != nil {
		t.Fatal(err)
	}
	y, releaseY, err := Acquire(cfg)
	if err != nil {
		t.Fatal(err)
	}
	other := cfg
	other.Options.Address = registry.AddressHost
	z, releaseZ, err := Acquire(other)
	if err != nil {
		t.Fatal(err)
	}
	if x != y || x == z {
		t.Errorf("equal configurations share: %t, others don't: %t", x == y, x != z)
	}
	<-y.Synced()
	for _, release := range []func() error{releaseX, releaseX, releaseZ} {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	r := put(t, etcd.Client(), web("a"))
	reaches(t, y, r)
	if err := releaseY(); err != nil {
		t.Error(err)
	}
	if _, _, err := Acquire(Config{Registry: registry.Config{Rack: "no rack"}}); err == nil {
		t.Error("a bad configuration is taken")
	}
}
