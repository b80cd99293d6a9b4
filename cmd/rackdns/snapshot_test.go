package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestSnapshotOfASilentRegistry checks that a registry that takes connections
// and never answers is named within the time that people wait, and that nobody
// has to wait for longer than they want.
func TestSnapshotOfASilentRegistry(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	proxy := etcdtest.NewProxy(t, etcd.Endpoints()[0])
	f := registryFlags{registry.Config{Endpoints: []string{proxy.URL()}, Rack: "acme"}}
	if s, err := f.snapshot(t.Context(), index.Options{}); err != nil || s == nil {
		t.Fatalf("through the proxy: %v, %v", s, err)
	}
	proxy.Swallow()
	t.Cleanup(proxy.Heal)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := f.snapshot(ctx, index.Options{})
	if took := time.Since(begin); err == nil || took > firstSync/2 {
		t.Errorf("with a patience of 100ms: %v after %v", err, took)
	}
	begin = time.Now()
	_, err = f.snapshot(t.Context(), index.Options{})
	var usage usageError
	if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), proxy.URL()) || errors.As(err, &usage) || took > firstSync+time.Second {
		t.Errorf("%v after %v; want %s named within %v", err, took, proxy.URL(), firstSync)
	}
}
