package agent

import (
	"context"
	"os"
	"strings"
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
// address, and was written in this boot of the host. No container survives a
// boot. An older agent's key doesn't tell its boot, but when the agent started.
//
// Where the engine is another host's, that boot says nothing of its containers.
// Then names may go with the lease after this host was booted, until the engine
// answers: that is not worth another rule.
func (a *Agent) inherits(boot string, booted time.Time) func(*registry.Node) bool {
	return func(n *registry.Node) bool {
		addr := a.HostAddress()
		same := len(n.Addresses) > 0 && n.Addresses[0] == addr
		if !addr.IsValid() && n.Boot != "" {
			// A host without an address is told by its boot alone.
			return n.Boot == boot
		}
		if !same && !a.cfg.Alone {
			return false
		}
		if n.Boot != "" && boot != "" {
			return n.Boot == boot
		}
		return n.Started.IsZero() || n.Started.After(booted)
	}
}

// bootID returns the ID of this host's present boot, the same in its containers;
// empty if there is none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// booted returns when this host was booted, the zero time if it doesn't tell.
func booted() time.Time {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second)
}
