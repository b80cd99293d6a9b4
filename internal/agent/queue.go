package agent

import (
	"context"
	"sync"
	"time"
)

// lane is how urgent it is to look at a container.
type lane int

const (
	// hot is for what an event told of: somebody waits for the name.
	hot lane = iota
	// cold is for what a list told of, which is almost always no news.
	cold
	// slow is for containers whose last inspect failed or hung.
	slow
	lanes
)

// queue holds the IDs of containers to look at. An ID is in it once, however
// often it is added, and is never worked on twice at the same time: added
// meanwhile, it comes again afterwards.
type queue struct {
	mu      sync.Mutex
	waiting [lanes][]string
	// limit bounds how many IDs of a lane are worked on at once, so that those
	// that fail, however many, leave room for the others.
	limit, busy [lanes]int
	// dirty holds what waits and where, working what is worked on and from
	// which lane, suspects what failed last time.
	dirty    map[string]lane
	working  map[string]lane
	suspects map[string]bool
	timers   map[timerKey]*time.Timer
	closed   bool
	// wake is closed and replaced whenever there may be something to get.
	wake chan struct{}
}

type timerKey struct {
	id string
	l  lane
}

// newQueue returns a queue that allows work on so many IDs at once.
func newQueue(workers int) *queue {
	workers = max(workers, 4)
	return &queue{
		limit:    [lanes]int{hot: workers, cold: workers / 2, slow: workers / 4},
		dirty:    map[string]lane{},
		working:  map[string]lane{},
		suspects: map[string]bool{},
		timers:   map[timerKey]*time.Timer{},
		wake:     make(chan struct{}),
	}
}

// add puts an ID into a lane, or into the more urgent one of that and the lane
// where it waits already.
func (q *queue) add(id string, l lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(id, l)
}

func (q *queue) addLocked(id string, l lane) {
	if q.closed {
		return
	}
	if q.suspects[id] {
		l = slow
	}
	was, waits := q.dirty[id]
	if waits && was <= l {
		return
	}
	q.dirty[id] = l
	if _, ok := q.working[id]; ok {
		return
	}
	// Where it waited before, its place is skipped when its turn comes.
	q.waiting[l] = append(q.waiting[l], id)
	q.wakeLocked()
}

// addAfter is add, later. A second call for the same ID and lane replaces the
// first.
func (q *queue) addAfter(id string, l lane, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	key := timerKey{id, l}
	if t, ok := q.timers[key]; ok {
		t.Stop()
	}
	q.timers[key] = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.timers, key)
		q.addLocked(id, l)
	})
}

// get waits for the next ID and returns false if there will be none.
func (q *queue) get(ctx context.Context) (string, bool) {
	for {
		q.mu.Lock()
		id, ok := q.nextLocked()
		wake, closed := q.wake, q.closed
		q.mu.Unlock()
		switch {
		case closed:
			return "", false
		case ok:
			return id, true
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-wake:
		}
	}
}

func (q *queue) nextLocked() (string, bool) {
	for l := range lanes {
		for q.busy[l] < q.limit[l] && len(q.waiting[l]) > 0 {
			id := q.waiting[l][0]
			q.waiting[l] = q.waiting[l][1:]
			_, working := q.working[id]
			if in, ok := q.dirty[id]; !ok || in != l || working {
				continue
			}
			delete(q.dirty, id)
			q.working[id] = l
			q.busy[l]++
			return id, true
		}
	}
	return "", false
}

// demote moves an ID that is worked on, and takes long, to the slow lane, so
// that its place in its own lane is free for another.
func (q *queue) demote(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l, ok := q.working[id]
	if !ok || l == slow {
		return
	}
	q.busy[l]--
	q.busy[slow]++
	q.working[id] = slow
	q.wakeLocked()
}

// done ends the work on an ID. If it failed, the ID is looked at with less
// urgency until it succeeds.
func (q *queue) done(id string, failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy[q.working[id]]--
	delete(q.working, id)
	if failed {
		q.suspects[id] = true
	} else {
		delete(q.suspects, id)
	}
	if l, ok := q.dirty[id]; ok {
		delete(q.dirty, id)
		q.addLocked(id, l)
	}
	q.wakeLocked()
}

// size returns how many IDs wait or are worked on.
func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.dirty) + len(q.working)
}

// close ends all waiting, for good.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for key, t := range q.timers {
		t.Stop()
		delete(q.timers, key)
	}
	q.wakeLocked()
}

func (q *queue) wakeLocked() {
	close(q.wake)
	q.wake = make(chan struct{})
}
