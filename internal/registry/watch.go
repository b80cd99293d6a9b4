package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

var (
	errOtherHistory = errors.New("registry has another history than the one read so far")
	errUnproven     = errors.New("the last change that was read is not where it was")
	errSilent       = errors.New("etcd says nothing")
	errWatchEnded   = errors.New("etcd ended the watch")
)

// watch hands over changes until its stream breaks.
//
// Each watch but the one that follows a list begins with a look at the last
// change that was handed over before, which has to be in the registry still,
// and the first thing that the stream brings has to be that change once more.
type watch struct {
	f *Follower
	// changes is the stream by which they come, past the one of the replay.
	changes, past *stream

	// known says that the history was found to be the one read so far.
	known bool
	// events, and pastEvents, are those of a response of which a part is yet
	// to come.
	events, pastEvents []*mvccpb.Event
	heard              time.Time
	asked              time.Time

	// census is the one that is being taken, and doubt a difference that may
	// be one of time alone; see check.go.
	census  chan census
	doubt   *doubt
	workers sync.WaitGroup
}

// watch returns when the stream breaks, or can't be trusted any more.
func (f *Follower) watch(ctx context.Context) error {
	etcd, err := f.client.connect(ctx)
	if err != nil {
		return err
	}
	if f.watched {
		err = f.verify(ctx)
	}
	if err == nil {
		watches.WithLabelValues(f.client.layout.Rack()).Inc()
		ctx, cancel := context.WithCancel(ctx)
		w := &watch{f: f, changes: openStream(ctx, etcd), past: &stream{}, heard: time.Now()}
		// After a list there is nothing to prove, and neither is there if the
		// list was the last that happened: its revision has no change of ours.
		w.known = !f.watched || f.rev > f.last.ModRevision
		if f.watched && w.known {
			// Another history may have had changes up to that revision. Who
			// holds what it does can tell.
			f.checks.soon()
		}
		f.replay.tried = time.Time{}
		w.startReplay(ctx, etcd)
		err = w.run(ctx, func() { w.startReplay(ctx, etcd) })
		cancel()
		w.changes.end()
		w.past.end()
		w.workers.Wait()
	}
	if errors.Is(err, errSilent) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		// Half-open connections are not always noticed below for a while. New
		// ones are only used once the member at their end has spoken.
		f.client.leave(etcd)
	}
	return err
}

// run calls again every now and then.
func (w *watch) run(ctx context.Context, again func()) error {
	tick := time.NewTicker(progressInterval / 4)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.changes.failed:
			return rpctypes.Error(err)
		case w.changes.client = <-w.changes.opened:
			w.heard = time.Now()
			w.create()
		case r := <-w.changes.responses:
			err = w.take(ctx, r)
			// Now, since taking it in may have taken long.
			w.heard = time.Now()
		case w.past.client = <-w.past.opened:
			w.createReplay()
		case r := <-w.past.responses:
			w.takePast(r)
		case pastErr := <-w.past.failed:
			w.f.log.Debug("reading the registry's history failed", "error", pastErr)
			w.past.end()
		case c := <-w.census:
			err = w.judge(ctx, c)
		case <-tick.C:
			w.f.tick()
			if time.Since(w.heard) > silence {
				return errSilent
			}
			if w.changes.client != nil && time.Since(w.asked) >= progressInterval {
				w.askProgress()
			}
			again()
			err = w.check(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (w *watch) create() {
	// Not from the next revision: until there is one, etcd would not say
	// whether it is alive.
	w.changes.create(&etcdserverpb.WatchCreateRequest{StartRevision: w.f.rev, ProgressNotify: true, Fragment: true}, w.f.client.layout.Base())
	w.askProgress()
}

func (w *watch) askProgress() {
	w.asked = time.Now()
	w.changes.askProgress()
}

// take hands over one response.
func (w *watch) take(ctx context.Context, r *etcdserverpb.WatchResponse) error {
	switch {
	case r.CompactRevision != 0:
		return rpctypes.ErrCompacted
	case r.Canceled && r.CancelReason == "":
		return errWatchEnded
	case r.Canceled:
		_, reason, ok := strings.Cut(r.CancelReason, "desc = ")
		if !ok {
			reason = r.CancelReason
		}
		return fmt.Errorf("%w: %w", errWatchEnded, rpctypes.Error(errors.New(reason)))
	}
	if err := w.f.checkHistory(ctx, r.Header); err != nil {
		return err
	}
	w.events = append(w.events, r.Events...)
	switch {
	case r.Fragment, r.Created:
		return nil
	case len(w.events) > 0:
		events := w.events
		w.events = nil
		if err := w.update(events); err != nil {
			return err
		}
	}
	// Without events it is a progress notification. That etcd is alive is all
	// that it is taken for.
	w.f.handler.Confirm()
	w.f.noteUp(ctx)
	return w.settle()
}

// update hands over the events that are new.
func (w *watch) update(events []*mvccpb.Event) error {
	f := w.f
	es := make([]Entry, 0, len(events))
	for _, event := range events {
		e := entry(event.Kv, event.Type == mvccpb.DELETE)
		switch {
		case e.ModRevision > f.rev:
			es = append(es, e)
		case e.ModRevision == f.last.ModRevision && e.Key == f.last.Key && e.Deleted() == f.last.Deleted() && bytes.Equal(e.Value, f.last.Value):
			w.known = true
		}
	}
	if len(es) == 0 {
		return nil
	}
	if !w.known {
		return errUnproven
	}
	f.handler.Update(es)
	f.last = es[len(es)-1]
	f.rev = f.last.ModRevision
	return nil
}
