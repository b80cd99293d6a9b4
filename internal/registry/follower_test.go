package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const base = "/rackdns/v1/acme/"

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(context.Background(), key, value); err != nil {
		t.Fatal(err)
	}
}

// The list takes as many pages as it needs, and sees no other rack, not even
// one whose name begins with ours.
func TestFollowerListsAndWatches(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	want := map[string]string{}
	for n := range 1200 {
		key := fmt.Sprintf("%sinstances/n/%05d", base, n)
		want[key] = strings.Repeat("x", n)
		put(t, client, key, want[key])
	}
	put(t, client, "/rackdns/v1/acme2/instances/n/a", "another rack's")
	put(t, client, "/rackdns/v1/acm", "no rack's")
	put(t, client, "/rackdns/secrets/acme/@rack/db", "secret")
	p := follow(t, open(t, registry.Config{Endpoints: etcd.Endpoints()}))
	p.sees(t, want)

	key := base + "instances/n/00007"
	put(t, client, key, "changed")
	want[key] = "changed"
	put(t, client, base+"new", "")
	want[base+"new"] = ""
	if _, err := client.Delete(context.Background(), base+"instances/n/00008"); err != nil {
		t.Fatal(err)
	}
	delete(want, base+"instances/n/00008")
	p.sees(t, want)
	if _, lists, resets, _ := p.state(); lists != 1 || resets != 0 {
		t.Errorf("%d lists and %d resets, want one list", lists, resets)
	}
}

// While nothing changes, the follower still hears that the registry is alive.
func TestFollowerHearsThatNothingChanges(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	p := follow(t, open(t, registry.Config{Endpoints: etcd.Endpoints()}))
	p.sees(t, map[string]string{})
	_, _, _, before := p.state()
	etcdtest.Eventually(t, "two answers", func() error {
		if _, _, _, confirmed := p.state(); confirmed < before+2 {
			return fmt.Errorf("confirmed %d times, %d before", confirmed, before)
		}
		return nil
	})
}

// What was compacted while the wire was cut can only be learnt from a list:
// the missed deletion too.
func TestFollowerSurvivesCompaction(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	put(t, client, base+"stays", "1")
	put(t, client, base+"goes", "1")
	p := follow(t, open(t, registry.Config{Endpoints: []string{wire.URL()}}))
	p.sees(t, map[string]string{base + "stays": "1", base + "goes": "1"})
	wire.Cut()
	ctx := context.Background()
	if _, err := client.Delete(ctx, base+"goes"); err != nil {
		t.Fatal(err)
	}
	put(t, client, base+"comes", "1")
	r, err := client.Put(ctx, base+"stays", "2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, r.Header.Revision); err != nil {
		t.Fatal(err)
	}
	wire.Mend()
	p.sees(t, map[string]string{base + "stays": "2", base + "comes": "1"})
	if _, lists, resets, _ := p.state(); lists != 2 || resets != 0 {
		t.Errorf("%d lists and %d resets, want a second list of the same history", lists, resets)
	}
}

// A registry that was restored from yesterday's copy has revisions that were
// there before with other values.
func TestFollowerNoticesARestoredRegistry(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	put(t, client, base+"a", "1")
	copied := t.TempDir() + "/copy"
	etcd.Kill()
	etcd.Members[0].CopyDir(copied)
	etcd.Start()
	p := follow(t, open(t, registry.Config{Endpoints: etcd.Endpoints()}))
	p.sees(t, map[string]string{base + "a": "1"})
	put(t, client, base+"b", "lost later")
	for range 10 {
		put(t, client, base+"a", "lost too")
	}
	p.sees(t, map[string]string{base + "a": "lost too", base + "b": "lost later"})

	etcd.Kill()
	etcd.Members[0].Dir = copied
	etcd.Start()
	p.sees(t, map[string]string{base + "a": "1"})
	put(t, client, base+"c", "new")
	p.sees(t, map[string]string{base + "a": "1", base + "c": "new"})
	if _, _, resets, _ := p.state(); resets == 0 {
		t.Error("the follower took the copy for the same history")
	}
}

// Half-open connections say nothing and end nothing.
func TestFollowerLeavesASilentMember(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	client := etcd.Client()
	wires := etcd.Proxied()
	var urls []string
	for _, w := range wires {
		urls = append(urls, w.URL())
	}
	put(t, client, base+"a", "1")
	p := follow(t, open(t, registry.Config{Endpoints: urls}))
	p.sees(t, map[string]string{base + "a": "1"})
	wires[0].Swallow()
	wires[1].Swallow()
	put(t, client, base+"a", "2")
	p.sees(t, map[string]string{base + "a": "2"})
	wires[0].Heal()
	wires[1].Heal()
	wires[2].Swallow()
	put(t, client, base+"a", "3")
	p.sees(t, map[string]string{base + "a": "3"})
}

// A watch that is cancelled, here by taking away the right to read, comes back
// when it can.
func TestFollowerComesBackWhenItMay(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	ctx := context.Background()
	reader := enableAuth(t, etcd)
	put(t, reader.root, base+"a", "1")
	p := follow(t, open(t, reader.config))
	p.sees(t, map[string]string{base + "a": "1"})
	if _, err := reader.root.UserRevokeRole(ctx, "reader", "rackdns-acme-reader"); err != nil {
		t.Fatal(err)
	}
	etcd.Kill()
	etcd.Start()
	put(t, reader.root, base+"a", "2")
	if _, err := reader.root.UserGrantRole(ctx, "reader", "rackdns-acme-reader"); err != nil {
		t.Fatal(err)
	}
	p.sees(t, map[string]string{base + "a": "2"})
}

// A slow etcd is followed all the same.
func TestFollowerBearsSlowness(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	wire.Slow(500 * time.Millisecond)
	c := open(t, registry.Config{Endpoints: []string{wire.URL()}})
	p := follow(t, c)
	pub := newPublisher(c, 3*time.Second)
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	etcdtest.Eventually(t, "the instance", func() error {
		if values, _, _, _ := p.state(); values[prefix+"a"] == "" {
			return errors.New("not there")
		}
		return nil
	})
	lease, _ := meta(t, client, prefix+"a")
	// Longer than the lease, which the delay must not cost it.
	deadline := time.Now().Add(5 * time.Second)
	etcdtest.Eventually(t, "the lease's survival", func() error {
		if l, _ := meta(t, client, prefix+"a"); l != lease {
			t.Fatalf("the lease was lost: %x, then %x", lease, l)
		}
		if time.Now().Before(deadline) {
			return errors.New("wait on")
		}
		return nil
	})
}
