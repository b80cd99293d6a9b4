package heap

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for _, tt := range []struct {
		live, floor uint64
		least, want int
	}{
		{0, 64 << 20, 100, 1500},
		{4 << 20, 64 << 20, 100, 1500},
		{20 << 20, 64 << 20, 100, 200},
		{32 << 20, 64 << 20, 100, 100},
		{64 << 20, 64 << 20, 100, 100},
		{1 << 40, 64 << 20, 100, 100},
		{8 << 20, 0, 100, 100},
		{10 << 20, 64 << 20, 200, 500},
		{20 << 20, 64 << 20, 200, 200},
		{1 << 40, 64 << 20, 200, 200},
		{10 << 20, 64 << 20, 50, 500},
		{1 << 40, 64 << 20, 50, 50},
	} {
		t.Run(fmt.Sprintf("%d of %d, at least %d", tt.live, tt.floor, tt.least), func(t *testing.T) {
			if got := percentFor(tt.live, tt.floor, tt.least); got != tt.want {
				t.Errorf("got %d %%, want %d %%", got, tt.want)
			}
		})
	}
}

// A small heap may grow to the floor; one that has grown beyond to three times
// its size, though the percentage was that of a small one when it began to, and
// only by half while it is to be frugal.
func TestFloor(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	const floor = 32 << 20
	stop := Floor(floor)
	defer stop()

	runtime.GC()
	settles(t, "a goal near the floor", func() error { return goalWithin(floor/2, floor*3/2) })
	keep := make([]byte, 2*floor)
	runtime.GC()
	settles(t, "a goal of three times the heap", func() error { return goalWithin(6*floor, 8*floor) })
	done := Frugal()
	settles(t, "a goal of one and a half times the heap", func() error { return goalWithin(3*floor, 7*floor/2) })
	done()
	done()
	settles(t, "a goal of three times the heap again", func() error { return goalWithin(6*floor, 8*floor) })
	runtime.KeepAlive(keep)
}

func TestFloorYieldsToTheOperator(t *testing.T) {
	t.Setenv("GOGC", "100")
	stop := Floor(1 << 30)
	defer stop()
	runtime.GC()
	if err := goalWithin(0, 512<<20); err != nil {
		t.Error(err)
	}
}

func goalWithin(least, most uint64) error {
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(s)
	if goal := s[0].Value.Uint64(); goal < least || goal > most {
		return fmt.Errorf("the heap's goal is %d, want %d to %d", goal, least, most)
	}
	return nil
}

// settles polls: what follows a collection happens in a goroutine.
func settles(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}
