package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// A registry restored from an older copy may have gone past the follower's
// revision before the follower looks again. Nothing but the changes themselves
// then tells one history from the other.
func TestFollowerNoticesAnOvertakenHistory(t *testing.T) {
	t.Parallel()
	for name, elsewhere := range map[string]string{
		"last change is lost":     base + "a",
		"last change is kept":     "/elsewhere",
		"last change is the copy": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			client := etcd.Client()
			put(t, client, base+"a", "1")
			put(t, client, base+"b", "1")
			copied := t.TempDir() + "/copy"
			etcd.Kill()
			etcd.Members[0].CopyDir(copied)
			etcd.Start()
			wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
			p := follow(t, open(t, registry.Config{Endpoints: []string{wire.URL()}}))
			want := map[string]string{base + "a": "1", base + "b": "1"}
			p.sees(t, want)
			if elsewhere != "" {
				for range 3 {
					put(t, client, elsewhere, "2")
				}
				if elsewhere == base+"a" {
					want[elsewhere] = "2"
				}
				p.sees(t, want)
			}

			wire.Cut()
			etcd.Kill()
			etcd.Members[0].Dir = copied
			etcd.Start()
			put(t, client, base+"new", "x")
			if _, err := client.Delete(context.Background(), base+"b"); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				put(t, client, "/elsewhere", "y")
			}
			wire.Mend()
			p.sees(t, map[string]string{base + "a": "1", base + "new": "x"})
		})
	}
}

// An etcd that is out of space can be read, and renews leases, but takes no
// write: what is registered stays, what is new waits, and the log says so once.
func TestPublisherOutOfSpace(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.QuotaBackendBytes = 1 << 20 })
	client := etcd.Client()
	var log lines
	pub := registry.NewPublisher(open(t, registry.Config{Endpoints: etcd.Endpoints()}), registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "E1"}, TTL: 2 * time.Second,
		Logger: log.logger(),
	})
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	holds(t, etcd, "a")
	ballast := strings.Repeat("x", 200<<10)
	etcdtest.Eventually(t, "no space", func() error {
		if _, err := client.Put(context.Background(), "/ballast", ballast); err == nil {
			return errors.New("there is some")
		}
		return nil
	})
	pub.Set(instance("b"))
	etcdtest.Eventually(t, "a line in the log", func() error {
		if !strings.Contains(log.String(), "NOSPACE") {
			return errors.New("there is none")
		}
		return nil
	})
	// For longer than the lease.
	deadline := time.Now().Add(5 * time.Second)
	etcdtest.Eventually(t, "the lease's end", func() error {
		if keys := keysOf(t, client, prefix); len(keys) != 1 {
			t.Fatalf("registered: %v, want one instance", keys)
		}
		// What comes and goes meanwhile leaves nothing to write. That is not
		// the end of it.
		pub.Remove("b")
		pub.Set(instance("b"))
		if time.Now().Before(deadline) {
			return errors.New("not over")
		}
		return nil
	})
	if got := log.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("want one line in the log, got:\n%s", got)
	}
}

// Tokens of etcd's users end, with their time and with the member that gave
// them, and nothing that is at work may notice.
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.AuthTokenTTL = 1 })
	u := enableAuth(t, etcd)
	var log lines
	p := follow(t, open(t, u.config))
	pub := registry.NewPublisher(open(t, u.agent), registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "E1"}, TTL: 2 * time.Second, Logger: log.logger(),
	})
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	arrives := func(id string) {
		t.Helper()
		etcdtest.Eventually(t, "instance "+id, func() error {
			if values, _, _, _ := p.state(); values[prefix+id] == "" {
				return errors.New("is not there")
			}
			return nil
		})
	}
	arrives("a")
	lease, _ := meta(t, as(t, etcd, "root"), prefix+"a")
	for _, id := range []string{"b", "c", "d"} {
		// Longer than tokens and leases last.
		deadline := time.Now().Add(2500 * time.Millisecond)
		etcdtest.Eventually(t, "time to pass", func() error {
			if values, _, _, _ := p.state(); values[prefix+"a"] == "" {
				t.Fatal("an instance is gone")
			}
			if time.Now().Before(deadline) {
				return errors.New("wait on")
			}
			return nil
		})
		pub.Set(instance(id))
		arrives(id)
	}
	if l, _ := meta(t, as(t, etcd, "root"), prefix+"a"); l != lease {
		t.Errorf("the lease was lost: %x, then %x", lease, l)
	}
	if log.String() != "" {
		t.Errorf("logged:\n%s", log.String())
	}
	etcd.Kill()
	etcd.Start()
	pub.Set(instance("e"))
	arrives("e")
	if l, _ := meta(t, as(t, etcd, "root"), prefix+"a"); l != lease {
		t.Errorf("the lease was lost in a restart: %x, then %x", lease, l)
	}
}

// A publisher that has talked to members which then say nothing any more finds
// the one that does before its lease ends, whichever that is.
func TestPublisherLeavesSilentMembers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	client := etcd.Client()
	keyOf := func(talks int, id string) string {
		return fmt.Sprintf("/rackdns/v1/rack%d/instances/node-1/%s", talks, id)
	}
	registered := func(talks int, id string) error {
		if len(keysOf(t, client, keyOf(talks, id))) == 0 {
			return fmt.Errorf("%s is not registered", keyOf(talks, id))
		}
		return nil
	}
	var (
		publishers [3]*registry.Publisher
		wires      [3][]*etcdtest.Proxy
		leases     [3]int64
	)
	for talks := range publishers {
		var urls []string
		wires[talks] = etcd.Proxied()
		for _, w := range wires[talks] {
			urls = append(urls, w.URL())
		}
		publishers[talks] = newPublisher(open(t, registry.Config{Endpoints: urls, Rack: fmt.Sprintf("rack%d", talks)}), registry.DefaultTTL)
		publish(t, publishers[talks])
		publishers[talks].Replace(instances("a"), nil)
		etcdtest.Eventually(t, "an instance", func() error { return registered(talks, "a") })
		leases[talks], _ = meta(t, client, keyOf(talks, "a"))
	}
	for talks, all := range wires {
		for n, w := range all {
			if n != talks {
				w.Swallow()
			}
		}
	}
	// For as long as the leases could last without a word, and more.
	deadline := time.Now().Add(registry.DefaultTTL + 5*time.Second)
	etcdtest.Within(t, time.Minute, "the leases' end", func() error {
		for talks := range publishers {
			if err := registered(talks, "a"); err != nil {
				t.Fatalf("member %d talks: %v", talks, err)
			}
		}
		if time.Now().Before(deadline) {
			return errors.New("not over")
		}
		return nil
	})
	for talks, p := range publishers {
		if l, _ := meta(t, client, keyOf(talks, "a")); l != leases[talks] {
			t.Errorf("member %d talks: the lease was lost: %x, then %x", talks, leases[talks], l)
		}
		p.Set(instance("b"))
		etcdtest.Eventually(t, "another instance", func() error { return registered(talks, "b") })
	}
}
