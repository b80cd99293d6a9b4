package agent

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/registry"
)

// keepAfter is how long an engine may take to say who it is before the agent
// begins to keep what the one before it left: it takes milliseconds.
const keepAfter = time.Second

// keepNames keeps the names that the agent before this one left, until it is
// ended. Without that they would be gone with its lease if this agent is
// started while the engine is down, though their containers may well run: an
// engine's end is not theirs.
func (a *Agent) keepNames(ctx context.Context) (end func()) {
	if a.keep == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		t := time.NewTimer(keepAfter)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-a.waiting:
		case <-t.C:
		}
		a.keep(ctx)
	})
	return func() { cancel(); keeping.Wait() }
}

// inherits returns a function that reports whether a node in the registry is
// this one, as far as that can be told without its engine: it has the same
// address, and was written since the host was booted. No container survives
// that.
func (a *Agent) inherits(booted time.Time) func(*registry.Node) bool {
	addr := a.home.addr
	return func(n *registry.Node) bool {
		same := len(n.Addresses) > 0 && n.Addresses[0] == addr
		return (same || a.cfg.Alone) && (n.Started.IsZero() || n.Started.After(booted))
	}
}

// booted returns when this host was booted, the zero time if it doesn't tell.
func booted() time.Time {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second)
}
