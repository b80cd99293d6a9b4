package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// checkInterval is the mean time between two checks of completeness,
	// firstCheck within what time the first one is. Each server draws its own
	// times, so that not all of them ask etcd at once.
	checkInterval = 5 * time.Minute
	firstCheck    = time.Minute
	// checkPause is how long etcd is left alone between two pages.
	checkPause = 50 * time.Millisecond
	// There is a server on each node, as a rule. Where all their checks would
	// keep etcd busy for more than a checkShare'th of the time they are rarer,
	// but not rarer than every checkLimit.
	checkShare = 10
	checkLimit = 12 * time.Hour
	// lag is by how much the changes may come later than what a read has seen
	// of them already.
	lag = 2 * silence
)

// checks are when the handler's picture is compared with the registry.
type checks struct {
	first, every time.Duration
	next         time.Time
}

// CheckEvery sets, before Run, how often the handler's picture is compared with
// the registry, give or take a fifth, and within what time for the first time.
func (f *Follower) CheckEvery(first, every time.Duration) {
	f.checks = checks{first: first, every: every, next: time.Now().Add(upTo(first))}
}

func upTo(d time.Duration) time.Duration { return rand.N(d + 1) }

// soon makes the next check one of the near future.
func (c *checks) soon() {
	if next := time.Now().Add(upTo(c.first)); next.Before(c.next) {
		c.next = next
	}
}

// census is what the registry holds at one revision.
type census struct {
	// mine is what the handler held when it was begun, at the revision that was
	// asked for, 0 for the present one. Revision is the one that it is of.
	mine            Digest
	asked, revision int64
	theirs          Digest
	// nodes are as many as there are, took is what etcd needed.
	nodes int
	took  time.Duration
	err   error
}

// doubt is a census that is not what the handler holds, but of a later
// revision: the changes may be on their way. After until they are not.
type doubt struct {
	census
	until time.Time
}

// incompleteError says that the handler doesn't hold what the registry does.
type incompleteError struct{ Difference }

var errIncomplete = errors.New("the index is not what the registry holds")

func (e *incompleteError) Error() string {
	return fmt.Sprintf("%v: %d keys are missing, %d too many, %d stale", errIncomplete, e.Missing, e.Extra, e.Stale)
}

func (e *incompleteError) Is(target error) bool { return target == errIncomplete }

// check begins a census when one is due. It returns an incompleteError if a
// doubt has lasted for too long.
func (w *watch) check(ctx context.Context) error {
	if w.census == nil && w.doubt == nil && w.changes.client != nil && !time.Now().Before(w.f.checks.next) {
		w.takeCensus(ctx, census{mine: w.f.handler.Digest(), asked: w.f.rev})
	}
	return w.settle()
}

// takeCensus reads all keys, a page at a time, in the background.
func (w *watch) takeCensus(ctx context.Context, c census) {
	result := make(chan census, 1)
	w.census = result
	w.workers.Go(func() {
		c.take(ctx, w.f)
		result <- c
	})
}

func (c *census) take(ctx context.Context, f *Follower) {
	start, paused := time.Now(), time.Duration(0)
	nodes := f.client.layout.Node("")
	c.err = f.fetch(ctx, c.asked, func(page *clientv3.GetResponse) error {
		if c.revision == 0 {
			c.revision = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			key := string(kv.Key)
			c.theirs.Set(key, 0, kv.ModRevision)
			if strings.HasPrefix(key, nodes) {
				c.nodes++
			}
		}
		paused += checkPause
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(checkPause):
			return nil
		}
	}, clientv3.WithKeysOnly())
	if c.asked != 0 {
		c.revision = c.asked
	}
	c.took = time.Since(start) - paused
}

// judge compares a census with what the handler holds.
func (w *watch) judge(ctx context.Context, c census) error {
	w.census = nil
	switch {
	case errors.Is(c.err, rpctypes.ErrCompacted) && c.asked != 0:
		// Nothing has changed here for long, but elsewhere in etcd.
		w.takeCensus(ctx, census{})
		return nil
	case c.err != nil:
		w.f.log.Debug("comparing the index with the registry failed", "error", c.err)
		w.f.checks.plan(&c)
		return nil
	case c.asked == 0:
		w.doubt = &doubt{census: c, until: time.Now().Add(lag)}
		return w.settle()
	}
	return w.conclude(&c, c.mine.Compare(&c.theirs))
}

// settle looks whether there still is a reason to doubt.
func (w *watch) settle() error {
	d := w.doubt
	if d == nil {
		return nil
	}
	mine := w.f.handler.Digest()
	diff := mine.Compare(&d.theirs)
	switch {
	case diff != Difference{} && w.f.rev > d.revision:
		// The handler has gone past that revision, to one that can be asked for.
		w.doubt = nil
	case diff == Difference{}, time.Now().After(d.until):
		w.doubt = nil
		return w.conclude(&d.census, diff)
	}
	return nil
}

func (w *watch) conclude(c *census, diff Difference) error {
	f := w.f
	f.checks.plan(c)
	checked.WithLabelValues(f.client.layout.Rack()).Inc()
	if diff == (Difference{}) {
		f.log.Debug("the index is what the registry holds", "keys", c.theirs.Keys(), "revision", c.revision, "took", c.took)
		return nil
	}
	incomplete.WithLabelValues(f.client.layout.Rack()).Inc()
	return &incompleteError{diff}
}

// plan sets the time of the next check, after c.
func (c *checks) plan(last *census) {
	every := max(c.every, min(last.took*time.Duration(last.nodes)*checkShare, checkLimit))
	c.next = time.Now().Add(every*4/5 + upTo(every*2/5))
}
