package registry

import (
	"errors"
	"fmt"
	"time"
)

const (
	// Others may change a node's keys: whoever drains it, or repairs something
	// by hand. So many changes in a row are repaired at once; those after that
	// only after firstTruce, and then after twice as long each time, up to
	// maxTruce.
	freeRepairs = 3
	firstTruce  = 100 * time.Millisecond
	maxTruce    = 30 * time.Second
	// toldRepairs is after how many it looks like another writer.
	toldRepairs = 6
	// peace is how long nobody may have changed anything before it is over.
	peace = time.Minute
)

var errRival = errors.New("somebody else writes this node's keys")

// rivalry is what a publisher knows of another writer of its node's keys. They
// would undo each other's writes for ever, as fast as etcd can.
type rivalry struct {
	times       int
	last, until time.Time
}

// meet notes that the keys were changed by somebody else, and are about to be
// repaired.
func (r *rivalry) meet(now time.Time) {
	if r.over(now) {
		r.times = 0
	}
	r.times++
	r.last, r.until = now, now
	if n := r.times - freeRepairs; n > 0 {
		r.until = now.Add(min(firstTruce<<min(n-1, 20), maxTruce))
	}
}

// truce returns for how much longer what others change is to be left alone.
func (r *rivalry) truce(now time.Time) time.Duration { return max(r.until.Sub(now), 0) }

// over reports whether nobody else has changed anything for long.
func (r *rivalry) over(now time.Time) bool { return now.Sub(r.until) > peace }

// meet notes that somebody else has changed the node's keys.
func (p *Publisher) meet(is *Node) {
	p.rivals.meet(time.Now())
	rivalChanges.WithLabelValues(p.labels()...).Inc()
	if p.rivals.times < toldRepairs {
		return
	}
	who := "the node's key is gone"
	if is != nil {
		who = fmt.Sprintf("the node's key has %s, version %s, started %s", identity(is.Engine, is.Boot, is.first()), Quote(is.Version), is.Started.UTC().Format(time.RFC3339))
	}
	us := p.self()
	p.rival.Note("another writer changes this node's keys again and again: repairing them ever more slowly; is a second agent running, or one for a copy of this engine?",
		errRival, "found", who, "this is", identity(us.Engine, us.Boot, us.first())+", started "+us.Started.UTC().Format(time.RFC3339))
}

// atPeace notes it if nobody else has changed anything for long.
func (p *Publisher) atPeace() {
	if p.rivals.over(time.Now()) {
		p.rival.Over("nobody else changes this node's keys any more")
	}
}
