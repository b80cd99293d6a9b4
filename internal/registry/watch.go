package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

var (
	errOtherHistory = errors.New("registry has another history than the one read so far")
	errSilent       = errors.New("etcd says nothing")
	errWatchEnded   = errors.New("etcd ended the watch")
)

// watch hands over changes until its stream breaks. It talks to etcd's watch
// service itself: the watcher of etcd's client mends a broken stream without a
// word, and what is at the far end then may be another history.
//
// So each watch begins with the last change that was handed over before, which
// has to be there again, unchanged, and with nothing between it and the
// revision that was reached.
type watch struct {
	f      *Follower
	cancel context.CancelFunc
	stream etcdserverpb.Watch_WatchClient
	opened chan etcdserverpb.Watch_WatchClient
	// responses and failed come from the goroutine that reads the stream,
	// which closes done at its end.
	responses chan *etcdserverpb.WatchResponse
	failed    chan error
	done      chan struct{}

	// first says that this watch follows a list; known, that the history was
	// found to be the one read so far.
	first, known bool
	// events are those of a response of which a part is yet to come.
	events []*mvccpb.Event
	heard  time.Time
	asked  time.Time
}

// watch returns when the stream breaks, or can't be trusted any more.
func (f *Follower) watch(ctx context.Context) error {
	etcd, err := f.client.connect(ctx)
	if err != nil {
		return err
	}
	watches.WithLabelValues(f.client.layout.Rack()).Inc()
	w := f.newWatch(ctx, etcd)
	defer func() { w.cancel(); <-w.done }()
	err = w.run(ctx)
	if errors.Is(err, errSilent) {
		// Half-open connections are not always noticed below for a while. New
		// ones are only used once the member at their end has spoken.
		f.client.leave(etcd)
	}
	return err
}

func (f *Follower) newWatch(ctx context.Context, etcd *clientv3.Client) *watch {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	w := &watch{
		f: f, cancel: cancel,
		opened:    make(chan etcdserverpb.Watch_WatchClient, 1),
		responses: make(chan *etcdserverpb.WatchResponse),
		failed:    make(chan error, 1),
		done:      make(chan struct{}),
		first:     !f.watched, known: !f.watched,
		heard: time.Now(),
	}
	go func() {
		defer close(w.done)
		w.failed <- w.receive(ctx, etcd)
	}()
	return w
}

// receive opens the stream, waiting for a connection if there is none, and
// reads it to its end.
func (w *watch) receive(ctx context.Context, etcd *clientv3.Client) error {
	stream, err := etcdserverpb.NewWatchClient(etcd.ActiveConnection()).Watch(ctx,
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return err
	}
	w.opened <- stream
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case w.responses <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(progressInterval / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.failed:
			return rpctypes.Error(err)
		case w.stream = <-w.opened:
			w.heard = time.Now()
			if err := w.create(); err != nil {
				return err
			}
		case r := <-w.responses:
			if err := w.take(ctx, r); err != nil {
				return err
			}
			// Now, since taking it in may have taken long.
			w.heard = time.Now()
		case <-tick.C:
			w.f.tick()
			if time.Since(w.heard) > silence {
				return errSilent
			}
			if w.stream != nil && time.Since(w.asked) >= progressInterval {
				w.askProgress()
			}
		}
	}
}

func (w *watch) create() error {
	base, from := w.f.client.layout.Base(), w.f.last.ModRevision
	if w.first {
		// Not the next one: until there is a next one, etcd would not say how
		// far it is.
		from = w.f.rev
	}
	err := w.stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key: []byte(base), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(base)),
			StartRevision: from, ProgressNotify: true, Fragment: true,
		},
	}})
	if err != nil {
		// Why it broke is what reading says, see run.
		return nil //nolint:nilerr // see above
	}
	w.askProgress()
	return nil
}

// askProgress makes etcd say how far it is, unless it is still busy with
// sending what has happened.
func (w *watch) askProgress() {
	w.asked = time.Now()
	err := w.stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{
		ProgressRequest: &etcdserverpb.WatchProgressRequest{},
	}})
	if err != nil {
		w.f.log.Debug("asking etcd for its progress failed", "error", err)
	}
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
		return w.update(ctx, events)
	}
	// Without events it is a progress notification: everything up to its
	// header's revision has been sent (etcd API, "Watch progress").
	if !w.known && r.Header.Revision >= w.f.last.ModRevision {
		return errOtherHistory
	}
	if r.Header.Revision >= w.f.rev {
		w.f.rev = r.Header.Revision
		w.f.handler.Current(w.f.rev)
		w.f.noteUp(ctx)
	}
	return nil
}

// update hands over the events that are new.
func (w *watch) update(ctx context.Context, events []*mvccpb.Event) error {
	f := w.f
	es := make([]Entry, 0, len(events))
	for _, event := range events {
		e := entry(event.Kv, event.Type == mvccpb.DELETE)
		switch {
		case e.ModRevision > f.rev:
			es = append(es, e)
		case w.first: // the list had it
		case e.ModRevision != f.last.ModRevision:
			return errOtherHistory
		case e.Key == f.last.Key && e.Deleted() == f.last.Deleted() && bytes.Equal(e.Value, f.last.Value):
			w.known = true
		}
	}
	if !w.known {
		return errOtherHistory
	}
	if len(es) > 0 {
		f.handler.Update(es)
		f.last = es[len(es)-1]
		f.rev = f.last.ModRevision
		f.handler.Current(f.rev)
		f.noteUp(ctx)
		return nil
	}
	// That was the change from before. Is it also the last one?
	w.askProgress()
	return nil
}

// checkHistory returns errOtherHistory if what answers now is not the registry
// that was read so far. A member that lags behind looks the same at first, so
// a suspicion is settled by a read that the whole cluster agrees to.
func (f *Follower) checkHistory(ctx context.Context, h *etcdserverpb.ResponseHeader) error {
	if h.ClusterId == f.cluster && h.RaftTerm >= f.term && h.Revision >= f.rev {
		f.term = h.RaftTerm
		return nil
	}
	agreed, err := f.client.agreed(ctx)
	if err != nil {
		return err
	}
	if agreed.ClusterId != f.cluster || agreed.RaftTerm < f.term || agreed.Revision < f.rev {
		return errOtherHistory
	}
	return nil
}
