package registry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The history is read in windows of revisions, from the newest back, each so
// many times as wide as the one before.
const (
	firstWindow  = 16
	widen        = 8
	historyLimit = 5 * time.Second
)

// history tells the handler of the changes before revision, the newest window
// first, until it has seen one that shows. A list alone can't say when that
// was: the last thing that happened may have been a deletion, or a change that
// nobody can see. It returns the revision from which on everything was told.
// What is compacted away stays unknown.
func (f *Follower) history(ctx context.Context, revision int64) (since int64) {
	ctx, cancel := context.WithTimeout(ctx, historyLimit)
	defer cancel()
	since = revision + 1
	for window := int64(firstWindow); since > 1; window *= widen {
		from := max(since-window, 1)
		shown, compacted, err := f.replay(ctx, from, since-1)
		if compacted > 0 && compacted < since {
			from = compacted
			shown, _, err = f.replay(ctx, from, since-1)
		}
		if err != nil {
			// Not worth a delay of the answers: the handler makes do.
			f.log.Debug("reading the registry's history failed", "error", err)
			return since
		}
		since = from
		if shown || compacted > 0 {
			return since
		}
	}
	return since
}

// replay tells the handler of the changes of the revisions from and to, and
// those between. If from is compacted away, it returns the first revision that
// isn't.
func (f *Follower) replay(ctx context.Context, from, to int64) (shown bool, compacted int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	etcd, err := f.client.connect(ctx)
	if err != nil {
		return false, 0, err
	}
	watcher := clientv3.NewWatcher(etcd)
	defer func() { _ = watcher.Close() }()
	past := watcher.Watch(ctx, f.client.layout.Base(), clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV(), clientv3.WithFragment())
	// A watch never says that it has caught up, unless it is asked.
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return shown, 0, ctx.Err()
		case <-ask.C:
			askProgress(ctx, watcher)
		case r, ok := <-past:
			switch {
			case !ok:
				return shown, 0, errWatchEnded
			case errors.Is(r.Err(), rpctypes.ErrCompacted):
				return shown, r.CompactRevision, r.Err()
			case r.Err() != nil:
				return shown, 0, r.Err()
			case r.IsProgressNotify() && r.Header.Revision >= to:
				return shown, 0, nil
			}
			for _, e := range r.Events {
				if e.Kv.ModRevision > to {
					return shown, 0, nil
				}
				is := entry(e.Kv, e.Type == mvccpb.DELETE)
				if is.ModRevision >= f.last.ModRevision {
					f.last = is
				}
				if f.handler.Past(before(e), is) {
					shown = true
				}
			}
		}
	}
}

// askProgress never waits for long: while etcd's client looks for another
// member it takes no requests. Without an answer it is asked again.
func askProgress(ctx context.Context, watcher clientv3.Watcher) {
	ctx, cancel := context.WithTimeout(ctx, progressInterval/4)
	defer cancel()
	_ = watcher.RequestProgress(ctx)
}

// before returns what the key of an event held until then. If that is
// compacted away, it counts as nothing.
func before(e *clientv3.Event) Entry {
	if e.PrevKv == nil {
		return Entry{Key: string(e.Kv.Key)}
	}
	return entry(e.PrevKv, false)
}
