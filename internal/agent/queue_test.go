package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Every ID that is added is worked on afterwards, and never twice at once.
func TestQueueNeverLosesNorDoubles(t *testing.T) {
	const ids, workers, adders, adds = 20, 8, 4, 2000
	q := newQueue(workers)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		now     atomic.Int64
		added   [ids]atomic.Int64
		begun   [ids]atomic.Int64
		running [ids]atomic.Int32
		wg      sync.WaitGroup
	)
	name := func(n int) string { return fmt.Sprint(n) }
	for range workers {
		wg.Go(func() {
			for {
				id, ok := q.get(ctx)
				if !ok {
					return
				}
				var n int
				_, _ = fmt.Sscan(id, &n)
				if running[n].Add(1) != 1 {
					t.Errorf("%d is worked on twice at once", n)
				}
				begun[n].Store(now.Add(1))
				failed := rand.N(10) == 0
				running[n].Add(-1)
				q.done(id, failed)
			}
		})
	}
	var adding sync.WaitGroup
	for range adders {
		adding.Go(func() {
			for range adds {
				n := rand.N(ids)
				if rand.N(20) == 0 {
					q.addAfter(name(n), cold, time.Duration(rand.N(1000))*time.Microsecond)
					continue
				}
				at := now.Add(1)
				q.add(name(n), lane(rand.N(int(lanes))))
				for was := added[n].Load(); was < at && !added[n].CompareAndSwap(was, at); was = added[n].Load() {
				}
			}
		})
	}
	adding.Wait()
	eventually(t, "empty queue", func() string {
		if n := q.size(); n > 0 {
			return fmt.Sprintf("%d left", n)
		}
		return ""
	})
	for n := range ids {
		if begun[n].Load() < added[n].Load() {
			t.Errorf("%d was added at %d and last worked on at %d", n, added[n].Load(), begun[n].Load())
		}
	}
	q.close()
	wg.Wait()
	cancel()
}

func TestQueueLanes(t *testing.T) {
	q := newQueue(8)
	defer q.close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	take := func(want string) {
		t.Helper()
		if id, ok := q.get(ctx); !ok || id != want {
			t.Fatalf("got %q, want %q", id, want)
		}
	}
	q.add("listed", cold)
	q.add("event", hot)
	take("event")
	take("listed")
	q.done("event", false)
	q.done("listed", false)

	// An event makes what a list told of urgent.
	q.add("a", cold)
	q.add("b", cold)
	q.add("b", hot)
	take("b")
	take("a")
	q.done("a", false)

	// What fails waits in the slow lane, also if an event tells of it.
	q.done("b", true)
	q.add("b", hot)
	q.add("c", cold)
	take("c")
	take("b")
	q.done("c", false)
	q.done("b", false)
	q.add("c", cold)
	q.add("b", hot)
	take("b")
	take("c")
	q.done("b", false)
	q.done("c", false)

	// However much hangs, there is room for an event.
	for n := range 20 {
		q.add(fmt.Sprint("slow", n), slow)
		q.add(fmt.Sprint("cold", n), cold)
	}
	for range q.limit[cold] + q.limit[slow] {
		if _, ok := q.get(ctx); !ok {
			t.Fatal("nothing to get")
		}
	}
	q.add("event", hot)
	take("event")
	cancel()
	if id, ok := q.get(ctx); ok {
		t.Errorf("got %q, though both lanes are full", id)
	}
}

func TestQueueAddAfter(t *testing.T) {
	q := newQueue(4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	q.addAfter("late", hot, time.Hour)
	q.addAfter("soon", hot, time.Millisecond)
	if id, _ := q.get(ctx); id != "soon" {
		t.Errorf("got %q", id)
	}
	q.addAfter("late", hot, 0)
	if id, _ := q.get(ctx); id != "late" {
		t.Errorf("got %q", id)
	}
	q.addAfter("never", hot, time.Hour)
	q.close()
	if id, ok := q.get(ctx); ok {
		t.Errorf("a closed queue gave %q", id)
	}
	q.add("x", hot)
	q.addAfter("x", hot, 0)
	q.close()
	if n := q.size(); n != 2 {
		t.Errorf("a closed queue took something: %d", n)
	}
}

// What takes long gives its place to another, also if there are more of that
// kind than places.
func TestQueueDemote(t *testing.T) {
	q := newQueue(4)
	defer q.close()
	for n := range 10 {
		id := fmt.Sprint(n)
		q.add(id, hot)
		if got, ok := q.nextLocked(); !ok || got != id {
			t.Fatalf("got %q, %t, want %q", got, ok, id)
		}
		q.demote(id)
		q.demote(id)
	}
	q.add("retried", slow)
	if got, ok := q.nextLocked(); ok {
		t.Errorf("got %q, though the slow lane is full", got)
	}
	for n := range 10 {
		q.done(fmt.Sprint(n), false)
	}
	if got, ok := q.nextLocked(); !ok || got != "retried" {
		t.Errorf("got %q, %t", got, ok)
	}
	q.done("retried", false)
	q.demote("retried")
	if q.busy != [lanes]int{} {
		t.Errorf("busy = %v", q.busy)
	}
}
