package registry

import (
	"context"
	"math"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// stream is one stream of etcd's watch service. The watcher of etcd's client
// mends a broken stream without a word, and what is at the far end then may be
// another history; this one just ends. The zero value is a stream that never
// says anything.
type stream struct {
	cancel context.CancelFunc
	// opened gets the stream, once there is a connection for it; client is what
	// it got.
	opened chan etcdserverpb.Watch_WatchClient
	client etcdserverpb.Watch_WatchClient
	// responses and failed come from the goroutine that reads the stream,
	// which closes done at its end.
	responses chan *etcdserverpb.WatchResponse
	failed    chan error
	done      chan struct{}
}

func openStream(ctx context.Context, etcd *clientv3.Client) *stream {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	s := &stream{
		cancel:    cancel,
		opened:    make(chan etcdserverpb.Watch_WatchClient, 1),
		responses: make(chan *etcdserverpb.WatchResponse),
		failed:    make(chan error, 1),
		done:      make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		s.failed <- s.receive(ctx, etcd)
	}()
	return s
}

// end ends the stream for good, and leaves the zero value.
func (s *stream) end() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
	}
	*s = stream{}
}

// receive opens the stream, waiting for a connection if there is none, and
// reads it to its end.
func (s *stream) receive(ctx context.Context, etcd *clientv3.Client) error {
	client, err := etcdserverpb.NewWatchClient(etcd.ActiveConnection()).Watch(ctx,
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return err
	}
	s.opened <- client
	for {
		r, err := client.Recv()
		if err != nil {
			return err
		}
		select {
		case s.responses <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// create begins a watch of all keys with a prefix. If the stream is broken,
// reading it says why.
func (s *stream) create(r *etcdserverpb.WatchCreateRequest, prefix string) {
	r.Key, r.RangeEnd = []byte(prefix), []byte(clientv3.GetPrefixRangeEnd(prefix))
	_ = s.client.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: r}})
}

// askProgress asks whether anybody is there. What etcd answers is no more than
// that, see [Follower].
func (s *stream) askProgress() {
	_ = s.client.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{
		ProgressRequest: &etcdserverpb.WatchProgressRequest{},
	}})
}
