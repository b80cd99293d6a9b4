package registry_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Hosts that were registered here are renewed without a read or a write, many at
// once, and over an etcd that was away; what isn't known, or has ended, is said.
func TestHostsRenew(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := openAt(t, etcd.Endpoints())
	h := registry.NewHosts(c)
	const ttl = time.Minute
	host := func(n int) registry.Instance {
		i := registry.HostInstance("default", "web", netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 8080))
		i.Weight = 1
		return i
	}
	const many = 200
	for n := range many {
		if err := h.Register(t.Context(), host(n), ttl); err != nil {
			t.Fatal(err)
		}
	}
	at := netip.MustParseAddrPort("10.0.0.7:8080")
	first := h.Seen("default", "web", at)
	if first.IsZero() || !h.Seen("other", "web", at).IsZero() {
		t.Errorf("seen at %v, of another app %v", first, h.Seen("other", "web", at))
	}
	revision := func() int64 {
		r, err := etcd.Client().Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		return r.Header.Revision
	}
	before := revision()
	var wg sync.WaitGroup
	for n := range many {
		wg.Go(func() {
			if ok, err := h.Renew(t.Context(), host(n), ttl); !ok || err != nil {
				t.Errorf("host %d: %v, %v", n, ok, err)
			}
		})
	}
	wg.Wait()
	if after := revision(); after != before {
		t.Errorf("renewals made %d revisions", after-before)
	}
	if !h.Seen("default", "web", at).After(first) {
		t.Error("a renewal is not seen")
	}
	for name, renew := range map[string]func() (bool, error){
		"one that isn't known": func() (bool, error) { return h.Renew(t.Context(), host(many), ttl) },
		"for another time":     func() (bool, error) { return h.Renew(t.Context(), host(1), 2*ttl) },
		"one that has ended": func() (bool, error) {
			key := c.Layout().Instance(registry.NodeAPI, "default/web/10.0.0.2~8080")
			r, err := etcd.Client().Get(t.Context(), key)
			if err != nil {
				return true, err
			}
			if _, err := etcd.Client().Revoke(t.Context(), clientv3.LeaseID(r.Kvs[0].Lease)); err != nil {
				return true, err
			}
			return h.Renew(t.Context(), host(2), ttl)
		},
	} {
		if ok, err := renew(); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	etcd.Kill()
	if ok, err := h.Renew(t.Context(), host(3), ttl); ok || err == nil {
		t.Errorf("without etcd: %v, %v", ok, err)
	}
	etcd.Start()
	etcdtest.Eventually(t, "it is renewed again", func() error {
		ok, err := h.Renew(t.Context(), host(3), ttl)
		if err == nil && !ok {
			err = fmt.Errorf("it has to be registered")
		}
		return err
	})
}

// A weight is set where there is a host, and stays with its lease.
func TestSetHostWeight(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := openAt(t, etcd.Endpoints())
	at := netip.MustParseAddrPort("10.0.0.7:8080")
	if err := c.Register(t.Context(), registry.HostInstance("default", "web", at), time.Minute); err != nil {
		t.Fatal(err)
	}
	lease := func() (int64, string) {
		r, err := etcd.Client().Get(t.Context(), c.Layout().Instance(registry.NodeAPI, "default/web/10.0.0.7~8080"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Kvs[0].Lease, string(r.Kvs[0].Value)
	}
	before, _ := lease()
	if err := c.SetHostWeight(t.Context(), "default", "web", at, 7); err != nil {
		t.Fatal(err)
	}
	all, err := c.InstancesOf(t.Context(), registry.NodeAPI)
	if after, value := lease(); after != before || err != nil || len(all) != 1 || all[0].Weight != 7 {
		t.Errorf("lease %x, was %x; %v; %s", after, before, err, value)
	}
	if err := c.SetHostWeight(t.Context(), "shop", "web", at, 7); !errors.Is(err, registry.ErrNotRegistered) {
		t.Errorf("of another app: %v", err)
	}
	if err := c.SetHostWeight(t.Context(), "default", "web", at, 101); err == nil {
		t.Error("weight 101 was set")
	}
}
