package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/registry"
)

// TestSoak starts and ends containers at random, many at once, while thousands
// of events that are none of the agent's business rain down. In the end, what
// is registered is what runs. It is short by default; RACKDNS_SOAK=5m makes it
// that long, with 200 containers.
func TestSoak(t *testing.T) {
	length, size, hands := 20*time.Second, 30, 8
	if s := os.Getenv("RACKDNS_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("RACKDNS_SOAK: %v", err)
		}
		length, size, hands = d, 200, 20
	} else if testing.Short() {
		t.Skip("takes 20 s")
	}
	d := newDaemon(t)
	a, rec := d.agent(t, func(c *Config) { c.RelistInterval = 10 * time.Second })
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var mix chaos
	var wg sync.WaitGroup
	slots := make(chan int, size)
	for n := range size {
		slots <- n
	}
	for range hands {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := <-slots
				// Not cut off in the middle, unless it is stuck: what an engine
				// makes of that is not the question.
				mix.act(context.WithoutCancel(ctx), t, d, fmt.Sprint("s", n))
				slots <- n
			}
		})
	}
	flooded := d.run(t, spec{name: "flooded"})
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := d.cli.ContainerExecCreate(ctx, flooded, container.ExecOptions{Cmd: []string{"/worker", "exists", "/worker"}})
			if err == nil {
				mix.execs.Add(1)
			}
			// A burst rather than all that the machine can give.
			wait(ctx, time.Millisecond)
		}
	})
	wg.Wait()
	t.Logf("%d starts, %d ends, %d restarts, %d pauses, %d execs", mix.starts.Load(), mix.ends.Load(), mix.restarts.Load(), mix.pauses.Load(), mix.execs.Load())

	// An engine that was so beaten may hold on to a container for a while, or
	// for good. The agent is to agree as soon as there is something to agree on.
	if problem := d.settled(30 * time.Second); problem != "" {
		t.Logf("the engine is stuck, and started anew: %s", problem)
		d.Revive(t)
		if problem := d.settled(time.Minute); problem != "" {
			t.Fatalf("the engine is stuck again: %s", problem)
		}
	}
	within(t, patience, "agreement", func() string { return sameAsPlan(t, d, rec) })
	wantNothingLeft(t, a, rec)
	// Each container that runs has one, which waits for the end of its process.
	goroutines += len(d.running(t))
	eventually(t, "no more goroutines than before", func() string {
		if n := runtime.NumGoroutine(); n > goroutines+10 {
			return fmt.Sprintf("%d, %d before", n, goroutines)
		}
		return ""
	})
	rec.mu.Lock()
	rec.writes = nil
	rec.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// chaos does random things to containers.
type chaos struct {
	starts, ends, restarts, pauses, execs atomic.Int64
}

// act does one thing to the container of a name. The engine's refusals are
// part of it: much is already under way.
func (c *chaos) act(ctx context.Context, t *testing.T, d *daemon, name string) {
	t.Helper()
	now := 0
	full := d.name(name)
	info, err := d.cli.ContainerInspect(ctx, full)
	if err != nil || !info.State.Running {
		if err != nil {
			if _, err = d.tryCreate(ctx, spec{name: name, Config: container.Config{Labels: labels{"rackdns.service": name}}}); err != nil {
				return
			}
		}
		if d.cli.ContainerStart(ctx, full, container.StartOptions{}) == nil {
			c.starts.Add(1)
		}
		return
	}
	switch rand.N(6) {
	case 0:
		if d.cli.ContainerStop(ctx, full, container.StopOptions{Timeout: &now}) == nil {
			c.ends.Add(1)
		}
	case 1:
		if d.cli.ContainerRestart(ctx, full, container.StopOptions{}) == nil {
			c.restarts.Add(1)
		}
	case 2:
		if d.cli.ContainerPause(ctx, full) == nil {
			c.pauses.Add(1)
		}
		_ = d.cli.ContainerUnpause(context.WithoutCancel(ctx), full)
	case 3:
		if d.cli.ContainerRemove(ctx, full, container.RemoveOptions{Force: true}) == nil {
			c.ends.Add(1)
		}
	case 4:
		if d.cli.ContainerKill(ctx, full, "SIGHUP") == nil {
			c.execs.Add(1)
		}
	default:
		if d.cli.ContainerKill(ctx, full, "SIGKILL") == nil {
			c.ends.Add(1)
		}
	}
}

// settled waits until the engine tells all about its containers, and says what
// it doesn't tell.
func (d *daemon) settled(within time.Duration) (problem string) {
	for deadline := time.Now().Add(within); ; {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		plan, err := Plan(ctx, planConfig(d))
		cancel()
		if err == nil && len(plan.LeftOut) == 0 {
			return ""
		}
		if time.Now().After(deadline) {
			return fmt.Sprintf("%v, %+v", err, plan)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func planConfig(d *daemon) Config {
	return Config{DockerHost: d.Host(), Node: "node-1", HostAddress: testHost}
}

// sameAsPlan says what is different between what is registered and what an
// agent that starts now would register.
func sameAsPlan(t *testing.T, d *daemon, rec *recorder) string {
	t.Helper()
	plan, err := Plan(context.Background(), planConfig(d))
	if err != nil || len(plan.LeftOut) > 0 {
		t.Fatalf("plan: %v, %+v", err, plan)
	}
	var wrong []string
	want := map[string]*registry.Instance{}
	for _, i := range plan.Instances {
		want[i.ID] = i
		if got := rec.get(i.ID); !sameInstance(got, i) {
			wrong = append(wrong, fmt.Sprintf("%s is %+v, want %+v", i.ID, got, i))
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for id := range rec.now {
		if want[id] == nil {
			wrong = append(wrong, id+" is stale")
		}
	}
	return strings.Join(wrong, "\n")
}

// wantNothingLeft checks that the agent holds no more than what runs.
func wantNothingLeft(t *testing.T, a *Agent, rec *recorder) {
	t.Helper()
	eventually(t, "empty queue", func() string {
		if n := a.queue.size(); n > 0 {
			return fmt.Sprint(n)
		}
		return ""
	})
	a.tracker.mu.Lock()
	defer a.tracker.mu.Unlock()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(a.tracker.entries) != len(rec.now) || len(a.tracker.joiners) != 0 || len(a.tracker.told) > len(rec.now)+200 {
		t.Errorf("%d entries and %d joiners for %d instances, %d told", len(a.tracker.entries), len(a.tracker.joiners), len(rec.now), len(a.tracker.told))
	}
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	if len(a.queue.suspects) != 0 || len(a.queue.working) != 0 {
		t.Errorf("queue: suspects %v, working %v", a.queue.suspects, a.queue.working)
	}
}
