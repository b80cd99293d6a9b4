package registry_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Of all that ask for a run one gets it, and nobody twice.
func TestClaimRun(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	at := time.Date(2027, 1, 1, 3, 0, 0, 0, time.UTC)
	claim := func(app, timer, node string, at time.Time) bool {
		t.Helper()
		ours, err := c.ClaimRun(t.Context(), app, timer, node, at)
		if err != nil {
			t.Error(err)
		}
		return ours
	}
	var got atomic.Int32
	var wg sync.WaitGroup
	for _, node := range []string{"node-1", "node-2", "node-3", "node-4"} {
		wg.Go(func() {
			for range 3 {
				if claim("shop", "cleanup", node, at) {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n != 1 {
		t.Errorf("%d of 12 claims were granted; want one", n)
	}
	for _, tc := range []struct {
		app, timer string
		at         time.Time
	}{{"shop", "cleanup", at.Add(time.Minute)}, {"shop", "backup", at}, {"docs", "cleanup", at}} {
		if !claim(tc.app, tc.timer, "node-9", tc.at) {
			t.Errorf("%+v is another run", tc)
		}
	}
	if keys := keys(t, etcd, "/rackdns/v1/"); len(keys) != 0 {
		t.Errorf("claims are names: %v", keys)
	}
	etcd.Kill()
	short := open(t, registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	if ours, err := short.ClaimRun(t.Context(), "shop", "cleanup", "node-9", at.Add(time.Hour)); ours || err == nil {
		t.Errorf("without a registry: %t, %v", ours, err)
	}
}
