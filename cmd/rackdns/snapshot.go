package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// firstSync is how long a command that reads the registry once waits for it.
const firstSync = 5 * time.Second

// snapshot returns the rack as it is now, for a command that looks once. An
// error says in words why the registry can't be read, within five seconds.
func (f *registryFlags) snapshot(ctx context.Context, opts index.Options) (*index.Snapshot, error) {
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	x, err := index.Open(index.Config{
		Registry: f.Config,
		Options:  opts,
		// What an index has to log is for servers, which go on.
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, usageError{err}
	}
	x.Start()
	defer func() { _ = x.Close() }()
	s, err := firstSnapshot(ctx, client, x)
	if err != nil || !isEmpty(s) {
		return s, err
	}
	// Nothing of it may be all that there is of the rack, or no such rack.
	return s, client.CheckRack(ctx)
}

// isEmpty reports whether a rack has nothing that any command shows.
func isEmpty(s *index.Snapshot) bool {
	for range s.Apps() {
		return false
	}
	for range s.Resources() {
		return false
	}
	return len(s.Nodes()) == 0
}

// firstSnapshot waits for the index. An index only ever tries again, so the
// client asks, at the same time, what is in the way if anything is.
func firstSnapshot(ctx context.Context, client *registry.Client, x *index.Index) (*index.Snapshot, error) {
	timeout := time.NewTimer(firstSync)
	defer timeout.Stop()
	ctx, cancel := context.WithCancel(ctx)
	checked := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := client.Check(ctx); err != nil {
			checked <- err
		}
	}()
	defer func() { cancel(); <-done }()
	select {
	case <-x.Synced():
		return x.Snapshot(), nil
	case err := <-checked:
		return nil, cmp.Or(ctx.Err(), err)
	case <-timeout.C:
		return nil, fmt.Errorf("can't read the registry: %s answers, but a list of everything takes over %s",
			strings.Join(client.Endpoints(), ", "), firstSync)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
