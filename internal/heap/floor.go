// Package heap tunes the garbage collector for a server that answers very many
// small queries.
package heap

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// DefaultFloor is a heap, in bytes, below which no server needs to save memory.
const DefaultFloor = 64 << 20

// By how much a heap may grow before it is collected, in percent: usual is Go's
// own rule, large is for a heap above the floor. Each collection follows every
// pointer of a rack that hardly changes, while the garbage is that of the
// queries: half as many collections are half that work. A heap that is to be
// frugal stays below both.
const (
	usual = 100
	large = 200
	small = 50
)

// liveBytes is the heap that the last collection left.
const liveBytes = "/gc/heap/live:bytes"

// Floor lets the heap grow to floor bytes before it is collected. By Go's own
// rule a small server, which lives in a few megabytes, collects sixty times a
// second while it is busy, and that is a tenth of what its queries cost. Above
// the floor the heap may grow to three times what is in use, but see [Frugal].
//
// It does nothing where the operator has set GOGC or GOMEMLIMIT. The percentage
// is set anew after each collection, until stop is called. There can be one
// Floor at a time.
func Floor(floor uint64) (stop func()) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return func() {}
		}
	}
	t := &tuner{floor: floor, sample: []metrics.Sample{{Name: liveBytes}}}
	t.tune()
	t.afterNext()
	current.Store(t)
	return t.stop
}

var (
	// current is what Floor has begun, nil without it.
	current atomic.Pointer[tuner]
	// frugal counts the calls of Frugal that aren't done.
	frugal atomic.Int32
)

// Frugal has a heap above the floor collected whenever it has grown by half,
// until done is called: for what takes much memory at once and soon gives it
// back.
func Frugal() (done func()) {
	frugal.Add(1)
	retune()
	return sync.OnceFunc(func() {
		frugal.Add(-1)
		retune()
	})
}

func retune() {
	if t := current.Load(); t != nil {
		t.tune()
	}
}

// tuner sets the collector's percentage.
type tuner struct {
	floor uint64

	mu      sync.Mutex
	sample  []metrics.Sample
	percent int
	stopped bool
}

// afterNext calls tune after the next collection, and so on: that finds an
// object that nobody needs, and says so.
func (t *tuner) afterNext() {
	runtime.AddCleanup(new([16]byte), func(t *tuner) {
		if t.tune() {
			t.afterNext()
		}
	}, t)
}

func (t *tuner) tune() (again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	metrics.Read(t.sample)
	least := large
	if frugal.Load() > 0 {
		least = small
	}
	if p := percentFor(t.sample[0].Value.Uint64(), t.floor, least); p != t.percent {
		t.percent = p
		debug.SetGCPercent(p)
	}
	return true
}

func (t *tuner) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	current.CompareAndSwap(t, nil)
	debug.SetGCPercent(usual)
}

// smallest is the heap that Go takes every smaller one for.
const smallest = 4 << 20

// percentFor returns by how much a heap of live bytes may grow to reach the
// floor, in percent, and at least as much as least. It is rounded, since each
// change stops the world for a moment.
func percentFor(live, floor uint64, least int) int {
	const step = 50
	p := floor * 100 / max(live, smallest)
	if p < 100+step {
		return least
	}
	return max(int(min(p-100, math.MaxInt32))/step*step, least)
}
