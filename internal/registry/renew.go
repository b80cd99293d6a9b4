package registry

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Hosts registers hosts that come again every minute or so: one that is as it was
// costs etcd a message on a stream, and neither a write nor a read.
type Hosts struct {
	client *Client

	mu     sync.Mutex
	held   map[string]heldHost
	swept  time.Time
	stream *renewals
}

// heldHost is the lease of a host that was registered here, and when that was
// renewed last.
type heldHost struct {
	lease clientv3.LeaseID
	ttl   time.Duration
	at    time.Time
}

// NewHosts returns what registers hosts by a client.
func NewHosts(c *Client) *Hosts { return &Hosts{client: c, held: map[string]heldHost{}} }

// Register is [Client.Register].
func (h *Hosts) Register(ctx context.Context, i Instance, ttl time.Duration) error {
	lease, err := h.client.registerHost(ctx, i, ttl)
	if err != nil {
		return err
	}
	h.hold(i.hostKey().Name, heldHost{lease, ttl, time.Now()})
	return nil
}

// hold remembers a host, and forgets those that can't be there any more.
func (h *Hosts) hold(name string, is heldHost) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[name] = is
	if is.at.Sub(h.swept) < time.Minute {
		return
	}
	h.swept = is.at
	for name, o := range h.held {
		if is.at.Sub(o.at) > 2*o.ttl {
			delete(h.held, name)
		}
	}
}

// Renew has a host go on that was registered here, and is to be as it is. It
// returns false if it has to be registered: it is not known here, has ended, or is
// to stay for another time.
func (h *Hosts) Renew(ctx context.Context, i Instance, ttl time.Duration) (bool, error) {
	name := i.hostKey().Name
	h.mu.Lock()
	is, ok := h.held[name]
	h.mu.Unlock()
	if !ok || is.ttl != ttl {
		return false, nil
	}
	left := int64(0)
	err := h.client.do(ctx, "renew "+i.Service, func(ctx context.Context, _ clientv3.KV) (err error) {
		left, err = h.renew(ctx, is.lease)
		if errors.Is(err, errRenewalsEnded) && ctx.Err() == nil {
			// It may have been a stream of long ago.
			left, err = h.renew(ctx, is.lease)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	if left <= 0 {
		h.mu.Lock()
		delete(h.held, name)
		h.mu.Unlock()
		return false, nil
	}
	is.at = time.Now()
	h.hold(name, is)
	return true, nil
}

// Seen returns when a host was registered or renewed here last, the zero time if it
// wasn't.
func (h *Hosts) Seen(app, service string, at netip.AddrPort) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[hostName(app, service, at)].at
}

// renew returns for how many seconds a lease lasts from now on.
func (h *Hosts) renew(ctx context.Context, lease clientv3.LeaseID) (int64, error) {
	etcd, err := h.client.connect(ctx)
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	if h.stream == nil || h.stream.etcd != etcd || h.stream.ended() {
		if h.stream, err = openRenewals(etcd); err != nil {
			h.mu.Unlock()
			return 0, err
		}
	}
	s := h.stream
	h.mu.Unlock()
	return s.renew(ctx, lease)
}

// errRenewalsEnded says that a stream of renewals was cut off.
var errRenewalsEnded = errors.New("the stream of renewals has ended")

// renewals is a stream of renewals. etcd answers them in their order.
type renewals struct {
	etcd   *clientv3.Client
	stream etcdserverpb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc

	mu sync.Mutex
	// waiting are those who wait for an answer, by lease.
	waiting map[clientv3.LeaseID][]chan int64
	// err is why it has ended.
	err error
}

func openRenewals(etcd *clientv3.Client) (*renewals, error) {
	// It lives as long as the connection.
	ctx, cancel := context.WithCancel(etcd.Ctx())
	stream, err := etcdserverpb.NewLeaseClient(etcd.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	r := &renewals{etcd: etcd, stream: stream, cancel: cancel, waiting: map[clientv3.LeaseID][]chan int64{}}
	go r.receive()
	return r, nil
}

func (r *renewals) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

// receive hands answers out until the stream ends.
func (r *renewals) receive() {
	defer r.cancel()
	for {
		answer, err := r.stream.Recv()
		r.mu.Lock()
		if err != nil {
			r.err = errors.Join(errRenewalsEnded, err)
			for _, all := range r.waiting {
				for _, w := range all {
					close(w)
				}
			}
			r.waiting = nil
			r.mu.Unlock()
			return
		}
		lease := clientv3.LeaseID(answer.ID)
		if all := r.waiting[lease]; len(all) > 0 {
			all[0] <- answer.TTL // it has room for one
			if r.waiting[lease] = all[1:]; len(all) == 1 {
				delete(r.waiting, lease)
			}
		}
		r.mu.Unlock()
	}
}

func (r *renewals) renew(ctx context.Context, lease clientv3.LeaseID) (int64, error) {
	answer := make(chan int64, 1)
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return 0, r.err
	}
	r.waiting[lease] = append(r.waiting[lease], answer)
	// In the order of those who wait.
	err := r.stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(lease)})
	r.mu.Unlock()
	if err != nil {
		r.cancel() // which ends all that wait
		return 0, err
	}
	select {
	case left, ok := <-answer:
		if !ok {
			r.mu.Lock()
			defer r.mu.Unlock()
			return 0, r.err
		}
		return left, nil
	case <-ctx.Done():
		// Whoever is at its other end says nothing any more: another may.
		r.cancel()
		return 0, ctx.Err()
	}
}
