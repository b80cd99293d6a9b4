package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func TestLock(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	cfg := registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"}
	first, second := open(t, cfg), open(t, cfg)
	never := func() { t.Error("waits, though nobody else has the lock") }

	held, lock, err := first.Lock(t.Context(), "up/shop", never)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := second.Lock(t.Context(), "up/shop2", never)
	if err != nil {
		t.Fatal(err)
	}
	other.Release()

	// Who gives up waiting leaves nothing behind that others would wait for.
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := second.Lock(ctx, "up/shop", cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want one of the end of the wait", err)
	}

	waiting, got := make(chan struct{}), make(chan error)
	go func() {
		_, lock, err := second.Lock(t.Context(), "up/shop", func() { close(waiting) })
		if err == nil {
			lock.Release()
		}
		got <- err
	}()
	<-waiting
	select {
	case err := <-got:
		t.Fatalf("two have the lock (%v)", err)
	default:
	}
	if held.Err() != nil {
		t.Errorf("the lock is lost: %v", context.Cause(held))
	}
	lock.Release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	keys, err := etcd.Client().Get(t.Context(), "/rackdns/", clientv3.WithPrefix())
	if err != nil || keys.Count != 0 {
		t.Errorf("%d keys are left (%v)", keys.Count, err)
	}
}

// A lock that the registry has taken away ends what was done under it.
func TestLockLost(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	held, lock, err := c.Lock(t.Context(), "up/shop", func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	leases, err := etcd.Client().Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("leases %v, %v; want one", leases, err)
	}
	if _, err := etcd.Client().Revoke(t.Context(), leases.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was told")
	}
	if err := context.Cause(held); !errors.Is(err, registry.ErrLockLost) {
		t.Errorf("cause %v, want %v", err, registry.ErrLockLost)
	}
}
