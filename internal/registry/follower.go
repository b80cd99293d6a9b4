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
	// CreateRevision is the revision in which the key came into being, 0 if it
	// was deleted.
	CreateRevision int64
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
	// EndList says that the list is complete, and returns the first revision
	// of whose changes it wants to be told by Replay. A list that ends in an
	// error has no EndList; a new BeginList follows.
	EndList() (from int64)
	// Replay tells of changes up to the list's revision, in their order, a few
	// at a time, while others come by Update already. They change nothing: the
	// list has their result, but not when what DNS shows came to be as it is.
	// From revision since on none is left out. It is higher than what was asked
	// for, and there may be no changes at all, where some are compacted away.
	Replay(since int64, changes []Change)
	// Update takes in changes, in the order in which they were made.
	Update(entries []Entry)
	// Confirm says that the registry has answered just now, and that all that
	// it has told so far was handed over.
	Confirm()
	// Digest sums up what the handler holds of what it was told: all keys that
	// are in the registry, also those that it can't use.
	Digest() Digest
	// Tick is called about once a second for what a time decides, also while
	// the registry is out of reach.
	Tick(now time.Time)
}

// Change is what became of one key, Old and New: Old has no value if there was
// no such key.
type Change struct{ Old, New Entry }

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
	// rev is the revision of the list, or of the last change since: up to it
	// the handler knows everything. Nothing else raises it, above all no
	// progress notification: before 3.4.25 and 3.5.8 etcd sends those ahead of
	// changes that they should follow (etcd#15220).
	//
	// cluster, term and the last change tell that history from another one.
	rev     int64
	cluster uint64
	term    uint64
	last    Entry
	ticked  time.Time
	replay  replay
	checks  checks
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
	checked.WithLabelValues(c.layout.Rack())
	incomplete.WithLabelValues(c.layout.Rack())
	log = log.With("rack", c.layout.Rack())
	f := &Follower{client: c, handler: handler, log: log, down: lasting.New(log)}
	f.CheckEvery(firstCheck, checkInterval)
	return f
}

// Position returns how far the handler has been told. Only the handler's own
// methods may call it, since they are called by the goroutine that moves it.
func (f *Follower) Position() Position {
	return Position{Revision: f.rev, Cluster: f.cluster, Term: f.term, Last: f.last}
}

// Resume says, before Run, that the handler knows everything up to p already.
// If the registry that is found then has another history, the first list is
// announced as a reset. That p is compacted away meanwhile says nothing of it.
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
	var lacks *incompleteError
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		f.relist("the changes since then are compacted away")
	case errors.Is(err, errUnproven):
		f.relist("the last change that was read is not where it was")
	case errors.As(err, &lacks):
		f.relist("the index was not what the registry holds", "missing", lacks.Missing, "extra", lacks.Extra, "stale", lacks.Stale)
	case errors.Is(err, errOtherHistory):
		f.reset = true
		f.relist("its history is another one: it was restored from a snapshot or replaced")
	}
	return err
}

func (f *Follower) relist(why string, more ...any) {
	relists.WithLabelValues(f.client.layout.Rack()).Inc()
	f.log.Warn("listing the whole registry again", append([]any{"why", why, "revision", f.rev}, more...)...)
	f.listed = false
}

func entries(kvs []*mvccpb.KeyValue) []Entry {
	es := make([]Entry, len(kvs))
	for n, kv := range kvs {
		es[n] = entry(kv, false)
	}
	return es
}

func entry(kv *mvccpb.KeyValue, deleted bool) Entry {
	e := Entry{Key: string(kv.Key), ModRevision: kv.ModRevision}
	if !deleted {
		e.CreateRevision = kv.CreateRevision
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
	f.down.Turn(reasonOf(err))
	if !f.down.Due() || mendable(err) {
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

// mendable reports whether a new list mends what ended a watch.
func mendable(err error) bool {
	return errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, errUnproven) || errors.Is(err, errIncomplete) || errors.Is(err, errOtherHistory)
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
