package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(want string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.b.String(), want) {
		return errors.New(l.b.String())
	}
	return nil
}

// A host that is held comes back by itself, whether somebody removed it or the
// registry was away for longer than its TTL, and ends with its holder.
func TestHoldHost(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client, err := registry.Open(registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	i := registry.HostInstance("default", "legacy", netip.MustParseAddrPort("10.0.5.1:8080"))
	key := client.Layout().Instance(registry.NodeAPI, "default/legacy/10.0.5.1~8080")
	log := &lines{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		holdHost(ctx, client, i, time.Second, slog.New(slog.NewTextHandler(log, nil)))
	}()
	t.Cleanup(func() { cancel(); <-done })

	direct := etcd.Client()
	there := func() error {
		r, err := direct.Get(context.Background(), key)
		if err == nil && r.Count == 0 {
			err = errors.New("is not there")
		}
		return err
	}
	etcdtest.Eventually(t, "the host", there)
	if _, err := direct.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, "the host, again", there)

	etcd.Kill()
	etcdtest.Eventually(t, "a word about the registry", func() error { return log.has("can't renew the host, and keep trying") })
	etcd.Start()
	etcdtest.Eventually(t, "a word about its return", func() error { return log.has("host is renewed again") })
	etcdtest.Eventually(t, "the host, after all that", there)

	cancel()
	<-done
	var out bytes.Buffer
	for range 2 {
		// That it is gone already is as good.
		if err := removeHost(context.Background(), client, i, &out); err != nil {
			t.Error(err)
		}
	}
	if there() == nil || out.String() != strings.Repeat("Deregistering legacy at 10.0.5.1:8080... OK\n", 2) {
		t.Errorf("still there: %t; %s", there() == nil, &out)
	}
}
