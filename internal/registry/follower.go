package registry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/rackdns/rackdns/internal/lasting"
)

const (
	// progressInterval is how often etcd is asked how far it is, which is
	// what keeps the age of the picture small while nothing changes.
	progressInterval = 2 * time.Second
	// silence is how long a watch may say nothing, in spite of being asked,
	// before it counts as broken and another member gets its turn.
	silence = 2*progressInterval + progressInterval/4
	// maxRetry bounds the wait between two attempts to reach etcd.
	maxRetry = time.Second
	// soonBack is the same for a follower, whose index is to be right two
	// seconds after etcd is back, waits for connections included.
	soonBack = time.Second / 2
)

// Entry is one key of the rack with its value.
type Entry struct {
	Key string
	// Value is nil if the key was deleted.
	Value []byte
	// ModRevision is the revision of the last change of the key, for a
	// deletion that of the deletion.
	ModRevision int64
	// Created says that the change brought the key into being.
	Created bool
}

// Deleted reports whether the entry says that its key is gone.
func (e Entry) Deleted() bool { return e.Value == nil }

// Handler takes in what a [Follower] reads. Its methods are called by one
// goroutine, one after the other.
type Handler interface {
	// BeginList announces all entries as of revision. If reset is true the
	// registry's history is not the one known so far (it was restored from a
	// snapshot), so that equal revisions say nothing about equal values.
	BeginList(revision int64, reset bool)
	// List takes in some of the entries. What was known before and is in no
	// List until EndList is gone.
	List(entries []Entry)
	// Past tells of a change from before the list's revision, with what the
	// key held until then, and reports whether it was one that can be seen.
	// It changes nothing: the list has its result.
	Past(was, is Entry) (shown bool)
	// EndList says that the list is complete. All changes from revision since
	// on that can be seen were told to Past. A list that ends in an error has
	// no EndList; a new BeginList follows.
	EndList(since int64)
	// Update takes in changes, in the order in which they were made.
	Update(entries []Entry)
	// Current says that all changes up to revision have been handed over.
	Current(revision int64)
	// Tick is called about once a second for what a time decides, also while
	// the registry is out of reach.
	Tick(now time.Time)
}

// Position is how far a [Follower] has read, in which history.
type Position struct {
	// Revision is 0 if nothing was read yet.
	Revision int64
	// Cluster, Term and the last change tell the history from another one.
	Cluster, Term uint64
	Last          Entry
}

// Follower keeps a Handler equal to the registry.
type Follower struct {
	client  *Client
	handler Handler
	log     *slog.Logger

	listed bool
	// rev is the revision up to which the handler knows everything; cluster,
	// term and the last change tell that history from another one.
	rev     int64
	cluster uint64
	term    uint64
	last    Entry
	ticked  time.Time
	// watched says that there was a watch since the last list.
	watched bool
	reset   bool
	// down and moved are what the log has said.
	down  *lasting.Trouble
	moved bool
}

// NewFollower returns a Follower that feeds handler once it runs.
func NewFollower(c *Client, handler Handler, log *slog.Logger) *Follower {
	// There from the start: an alert on a series that isn't never fires.
	relists.WithLabelValues(c.layout.Rack())
	watches.WithLabelValues(c.layout.Rack())
	log = log.With("rack", c.layout.Rack())
	return &Follower{client: c, handler: handler, log: log, down: lasting.New(log)}
}

// Position returns how far the handler has been told. Only the handler's own
// methods may call it, since they are called by the goroutine that moves it.
func (f *Follower) Position() Position {
	return Position{Revision: f.rev, Cluster: f.cluster, Term: f.term, Last: f.last}
}

// Resume says, before Run, that the handler knows everything up to p already.
// If the registry that is found then has another history, the first list is
// announced as a reset.
func (f *Follower) Resume(p Position) {
	f.rev, f.cluster, f.term, f.last = p.Revision, p.Cluster, p.Term, p.Last
}

// tickInterval is the least time between two ticks.
const tickInterval = time.Second

// tick calls the handler's Tick if it is due.
func (f *Follower) tick() {
	if now := time.Now(); now.Sub(f.ticked) >= tickInterval {
		f.ticked = now
		f.handler.Tick(now)
	}
}

// Run lists and watches until ctx ends. It retries for ever: a registry out of
// reach is a state that ends, not an error to give up on.
func (f *Follower) Run(ctx context.Context) {
	wait := newRetry()
	wait.MaxInterval = soonBack
	for ctx.Err() == nil {
		start := f.rev
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if f.rev != start {
			wait.Reset()
		}
		f.noteDown(ctx, err)
		f.tick()
		select {
		case <-ctx.Done():
		case <-time.After(Patience(err, f.down.Since(), wait.NextBackOff())):
		}
	}
}

func newRetry() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 50 * time.Millisecond
	b.MaxInterval = maxRetry
	return b
}

// follow returns when a new watch, or a new list, is needed.
func (f *Follower) follow(ctx context.Context) error {
	if !f.listed {
		if err := f.list(ctx); err != nil {
			return err
		}
		f.listed, f.watched, f.reset = true, false, false
		f.noteUp(ctx)
	}
	err := f.watch(ctx)
	f.watched = true
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		f.relist("the changes since then are compacted away", false)
	case errors.Is(err, errOtherHistory):
		f.relist("its history is another one: it was restored from a snapshot or replaced", true)
	case err != nil && f.last.ModRevision == 0:
		f.relist("no change is known by which to tell its history from another one", true)
	}
	return err
}

func (f *Follower) relist(why string, reset bool) {
	relists.WithLabelValues(f.client.layout.Rack()).Inc()
	f.log.Warn("listing the whole registry again", "why", why, "revision", f.rev)
	f.listed = false
	f.reset = f.reset || reset
}

func entries(kvs []*mvccpb.KeyValue) []Entry {
	es := make([]Entry, len(kvs))
	for n, kv := range kvs {
		es[n] = entry(kv, false)
	}
	return es
}

func entry(kv *mvccpb.KeyValue, deleted bool) Entry {
	e := Entry{Key: string(kv.Key), ModRevision: kv.ModRevision, Created: kv.CreateRevision == kv.ModRevision}
	if !deleted {
		e.Value = kv.Value
		if e.Value == nil {
			e.Value = []byte{}
		}
	}
	return e
}

// noteDown says why the registry can't be followed. What ends a watch and
// can be mended at once, by a list or by another member, is no such reason.
func (f *Follower) noteDown(ctx context.Context, err error) {
	if !f.down.Due() || errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errOtherHistory) {
		return
	}
	why := f.client.Check(ctx)
	switch {
	case ctx.Err() != nil:
	case why != nil:
		meanwhile := "names keep their last known answers"
		if f.rev == 0 {
			meanwhile = "no name is known yet"
		}
		f.down.Note("registry out of reach: "+meanwhile, why, "revision", f.rev)
	case !f.moved && !f.down.Lasts():
		f.moved = true
		f.log.Info("the watch of the registry broke: going on with another connection", "error", err, "revision", f.rev)
	}
}

// noteUp says once that the registry is back. A member that the others have
// left alone answers too, for a while, so most of them have to agree.
func (f *Follower) noteUp(ctx context.Context) {
	f.moved = false
	if !f.down.Lasts() {
		return
	}
	if _, err := f.client.agreed(ctx); err != nil {
		return
	}
	f.down.Over("registry is back", "revision", f.rev)
}
