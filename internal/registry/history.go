package registry

import (
	"bytes"
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// replay is how far the handler has been told of what was before the list. A
// list alone can't say when DNS changed for the last time: the last thing that
// happened may have been a deletion, or a change that nobody can see.
//
// The changes come by a watch that begins in the past, on a stream of its own,
// so that however many there are they delay nothing. It ends with the first
// change from after the list, and if there is none it stays: nothing else says
// for certain, whatever the version of etcd, that all have come.
type replay struct {
	// from is the first revision that is yet to come, 0 if none is.
	from int64
	// since is what [Handler].Replay is told, list is the list's revision.
	since, list int64
	// tried is when a stream for it was last opened.
	tried time.Time
}

// startReplay opens the stream for what is yet to be replayed, if anything is.
// One that broke is not opened again at once: nothing waits for it.
func (w *watch) startReplay(ctx context.Context, etcd *clientv3.Client) {
	p := &w.f.replay
	if p.from == 0 || w.past.cancel != nil || time.Since(p.tried) < progressInterval {
		return
	}
	p.tried = time.Now()
	w.past = openStream(ctx, etcd)
}

// createReplay asks for the changes with what the keys held before.
func (w *watch) createReplay() {
	w.pastEvents = nil
	w.past.create(&etcdserverpb.WatchCreateRequest{StartRevision: w.f.replay.from, PrevKv: true, Fragment: true}, w.f.client.layout.Base())
}

// takePast hands over one response of the replay. What is wrong with it is
// mended by another stream.
func (w *watch) takePast(r *etcdserverpb.WatchResponse) {
	f := w.f
	p := &f.replay
	switch {
	case r.Header.ClusterId != f.cluster:
		w.past.end()
		return
	case r.CompactRevision != 0:
		// Behind it, since a deletion in that very revision may be gone.
		p.from = min(r.CompactRevision, p.list) + 1
		p.since = p.from
		f.handler.Replay(p.since, nil)
		if p.from > p.list {
			w.endReplay()
			return
		}
		w.createReplay()
		return
	case r.Canceled:
		w.past.end()
		return
	}
	w.pastEvents = append(w.pastEvents, r.Events...)
	if r.Fragment || len(w.pastEvents) == 0 {
		return
	}
	changes := make([]Change, 0, len(w.pastEvents))
	ended := false
	for _, event := range w.pastEvents {
		c := Change{Old: before(event), New: entry(event.Kv, event.Type == mvccpb.DELETE)}
		switch {
		case c.New.ModRevision > p.list:
			ended = true
		case c.New.ModRevision >= p.from:
			changes = append(changes, c)
		}
	}
	w.pastEvents = nil
	if n := len(changes); n > 0 {
		last := changes[n-1].New
		p.from = last.ModRevision + 1
		if last.ModRevision > f.last.ModRevision {
			// A deletion, which the list doesn't show.
			f.last = last
		}
		f.handler.Replay(p.since, changes)
	}
	if ended {
		w.endReplay()
	}
}

func (w *watch) endReplay() {
	w.f.replay.from = 0
	w.past.end()
}

// before returns what the key of an event held until then.
func before(e *mvccpb.Event) Entry {
	if e.PrevKv == nil {
		return Entry{Key: string(e.Kv.Key)}
	}
	return entry(e.PrevKv, false)
}

// verify returns errOtherHistory if the registry is not the one that was read
// so far, by a read that the whole cluster agrees to: the last change has to be
// where it was. It is rpctypes.ErrCompacted if nobody can say that any more.
func (f *Follower) verify(ctx context.Context) error {
	last := f.last
	if last.ModRevision == 0 {
		// Nothing ever was in the rack. All that can be told of such a history
		// is its cluster and how far it is.
		return f.verifyState(ctx)
	}
	r, err := f.get(ctx, last.Key, clientv3.WithRev(last.ModRevision))
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return errOtherHistory
	case err != nil:
		return err
	case !f.continues(r.Header):
		return errOtherHistory
	case !last.Deleted():
		if len(r.Kvs) != 1 || r.Kvs[0].ModRevision != last.ModRevision || !bytes.Equal(r.Kvs[0].Value, last.Value) {
			return errOtherHistory
		}
		return nil
	case len(r.Kvs) > 0:
		return errOtherHistory
	}
	// It has to be gone since that revision, and not since an earlier one.
	r, err = f.get(ctx, last.Key, clientv3.WithRev(last.ModRevision-1))
	if err == nil && len(r.Kvs) == 0 {
		return errOtherHistory
	}
	return err
}

func (f *Follower) verifyState(ctx context.Context) error {
	h, err := f.client.agreed(ctx)
	if err != nil {
		return err
	}
	if !f.continues(h) {
		return errOtherHistory
	}
	return nil
}

// continues reports whether a header can be of the history that was read so
// far. That of a member that lags behind looks as if it couldn't.
func (f *Follower) continues(h *etcdserverpb.ResponseHeader) bool {
	return h.ClusterId == f.cluster && h.RaftTerm >= f.term && h.Revision >= f.rev
}

// checkHistory returns errOtherHistory if what answers now is not the registry
// that was read so far. As a member may lag behind, a suspicion is settled by a
// read that the whole cluster agrees to.
func (f *Follower) checkHistory(ctx context.Context, h *etcdserverpb.ResponseHeader) error {
	if f.continues(h) {
		f.term = h.RaftTerm
		return nil
	}
	return f.verifyState(ctx)
}
