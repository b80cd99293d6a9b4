package test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

var errRunning = errors.New("it still runs")

func number(t *testing.T, port string) uint16 {
	t.Helper()
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// lingering starts a container that goes on for a while after its stop signal,
// as a server does that ends what it has begun.
func lingering(t *testing.T, app string, b *bridge, stopTimeout int) *instance {
	t.Helper()
	return start(t, spec{
		app: app, service: "web", network: b, expose: []string{"3000/tcp"},
		command: []string{"-linger", "1m"}, stopTimeout: &stopTimeout,
	})
}

// alive checks that a container runs and serves those who know its address.
func (c *instance) alive() error {
	if state := c.inspect().State; !state.Running {
		return fmt.Errorf("it has ended with exit code %d", state.ExitCode)
	}
	_, err := c.ask("/")
	return err
}

func (c *instance) send(signal string) {
	c.t.Helper()
	if err := c.cli.ContainerKill(engineContext(c.t), c.id, signal); err != nil {
		c.t.Fatalf("sending %s to container %s: %v", signal, c.name, err)
	}
}

// A container that is told to stop is gone from DNS at once, while it serves
// those who came before: nobody new is sent to somebody who leaves.
func TestStoppingInstanceIsGoneWhileItRuns(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	// The engine tells nobody that it is given longer than that second.
	leaves, stays := lingering(t, app, b, 1), web(t, 1, app, b)[0]
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, leaves, stays)) })

	ctx, cancel := context.WithCancel(engineContext(t))
	var stopping sync.WaitGroup
	stopping.Go(func() {
		grace := 60
		// It is cut off when the test has seen enough.
		_ = leaves.cli.ContainerStop(ctx, leaves.id, container.StopOptions{Timeout: &grace})
	})
	defer func() { cancel(); stopping.Wait() }()
	within(t, soon, "one instance", func() error { return servedBy(r.dns, name, atHost(name, stays)) })
	if err := leaves.alive(); err != nil {
		t.Fatalf("the other one, which should still be at work: %v", err)
	}
	// It stays gone for as long as it takes, over the end of its own timeout.
	says(t, r.process, "still runs after its stop signal", leaves.id, "catches the signal")
	throughout(t, time.Second, "one instance", func() error { return servedBy(r.dns, name, atHost(name, stays)) })
	if err := leaves.alive(); err != nil {
		t.Errorf("the other one, which should still be at work: %v", err)
	}
}

// SIGHUP makes a server read its configuration and says nothing of its end.
func TestHangupChangesNothing(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	c := web(t, 1, app, b)[0]
	want := atHost(name, c)
	eventually(t, "one instance", func() error { return servedBy(r.dns, name, want) })
	for range 3 {
		c.send("HUP")
	}
	// Something that comes later arrives: so has the signal.
	later := unique("later")
	c2 := start(t, spec{app: app, service: later, network: b, expose: []string{"3000/tcp"}})
	throughoutUntil(t, "one instance", func() error { return servedBy(r.dns, name, want) }, func() error {
		return servedBy(r.dns, r.service(later, app), atHost(r.service(later, app), c2))
	})
	if err := c.alive(); err != nil {
		t.Error(err)
	}
}

// throughoutUntil demands that holds has no fault until reached has none.
func throughoutUntil(t *testing.T, what string, holds, reached func() error) {
	t.Helper()
	poll(t, soon, "the end of the wait", steadily, func() error {
		if err := holds(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return reached()
	})
}

// A container that ignores its stop signal serves again: it is not about to end
// after all.
func TestSurvivorComesBack(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	timeout := 1
	c := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}, command: []string{"-deaf"}, stopTimeout: &timeout})
	want := atHost(name, c)
	eventually(t, "one instance", func() error { return servedBy(r.dns, name, want) })
	c.send("TERM")
	within(t, soon, "none", func() error { return resolvesToNothing(r, name) })
	if err := c.alive(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one instance again", func() error { return servedBy(r.dns, name, want) })
	if err := c.alive(); err != nil {
		t.Error(err)
	}
	says(t, r.process, "ignores its stop signal", c.id)
}
