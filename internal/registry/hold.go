package registry

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// run writes what is wanted until the lease is lost or ctx ends. What fails is
// tried again from here: whatever keeps etcd from taking writes, the lease goes
// on, and with it what is registered.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive, err := s.p.client.keepAlive(ctx, s.etcd, s.lease, s.p.cfg.TTL)
	if err != nil {
		return err
	}
	held := leaseHeld.WithLabelValues(s.p.labels()...)
	held.Set(1)
	defer held.Set(0)
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	node, instances, drained := s.watchOwn(ctx)
	s.p.untake(nil, true)
	wait := newRetry()
	for {
		again, err := s.step(ctx, wait)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again:
		case <-s.p.wake:
		case r, ok := <-node:
			if !ok {
				node = nil
			}
			s.heed(r)
		case r, ok := <-instances:
			if !ok {
				instances = nil
			}
			s.heed(r)
		case r, ok := <-drained:
			if !ok {
				drained = nil
			}
			for _, e := range r.Events {
				s.stale = s.stale || e.Kv.ModRevision > s.revision
			}
		case <-refresh.C:
			s.p.atPeace()
			s.stale = true
		case err, ok := <-alive:
			if !ok && ctx.Err() == nil {
				leaseLosses.WithLabelValues(s.p.labels()...).Inc()
				return errLeaseLost
			}
			if err != nil {
				return err
			}
		}
	}
}

// step brings the registry up to date. If that fails and may go well later, it
// returns when to try again; an error is the end of the session.
func (s *session) step(ctx context.Context, wait *backoff.ExponentialBackOff) (again <-chan time.Time, err error) {
	err = s.repair(ctx)
	if err == nil {
		err = s.write(ctx)
	}
	if errors.Is(err, errChanged) {
		s.stale, s.met, err = true, true, nil
	}
	if err == nil && s.stale {
		// What is ours to write was written, and they get their time.
		return time.After(s.p.rivals.truce(time.Now())), nil
	}
	if err == nil && s.p.down.Lasts() {
		// That nothing is left to write does not say that it could be.
		err = s.probe(ctx)
	}
	var taken *TakenError
	switch {
	case err == nil:
		s.p.noteUp()
		wait.Reset()
		return nil, nil
	case ctx.Err() != nil, errors.Is(err, errLeaseLost), errors.Is(err, errMoved), errors.Is(err, rpctypes.ErrLeaseNotFound), errors.As(err, &taken):
		return nil, err
	}
	s.p.noteDown(ctx, err)
	return time.After(Patience(err, s.p.down.Since(), wait.NextBackOff())), nil
}

// repair reads the node's keys again, if that is due, for a write to bring them
// in order. If it is due to somebody else, it may have to wait.
func (s *session) repair(ctx context.Context) error {
	if !s.stale || s.met && s.p.rivals.truce(time.Now()) > 0 {
		return nil
	}
	met := s.met
	err := s.reread(ctx)
	if met && err == nil {
		s.p.meet(s.is)
	}
	return err
}

// probe finds out whether etcd takes writes, and writes nothing: no key ever
// has that revision.
func (s *session) probe(ctx context.Context) error {
	key := string(s.node.Key)
	return s.p.client.do(ctx, "write to the registry", func(ctx context.Context, kv clientv3.KV) error {
		_, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", -1)).
			Then(clientv3.OpPut(key, string(s.node.Value), clientv3.WithLease(s.lease))).Commit()
		return err
	})
}

// watchOwn watches the node's keys for what others do to them. If a watch
// fails, the next refresh finds out the same.
func (s *session) watchOwn(ctx context.Context) (node, instances, drained clientv3.WatchChan) {
	l, name := s.p.client.layout, s.p.cfg.Node.Node
	return s.etcd.Watch(ctx, l.Node(name)), s.etcd.Watch(ctx, l.Instances(name), clientv3.WithPrefix()), s.etcd.Watch(ctx, l.Drained(name))
}

// heed notes if somebody else changed one of the node's keys.
func (s *session) heed(r clientv3.WatchResponse) {
	for _, e := range r.Events {
		if !s.isOwn(e.Kv) {
			s.stale, s.met = true, true
		}
	}
}

// isOwn reports whether a change is one that this session made, or one that
// it has read already.
func (s *session) isOwn(kv *mvccpb.KeyValue) bool {
	if kv.ModRevision <= s.revision || s.own[kv.ModRevision] {
		return true
	}
	if s.node != nil && bytes.Equal(kv.Key, s.node.Key) {
		return kv.ModRevision <= s.node.ModRevision
	}
	id := strings.TrimPrefix(string(kv.Key), s.p.client.layout.Instances(s.p.cfg.Node.Node))
	held, ok := s.held[id]
	if !ok {
		// It is gone, or is to be: in either case there is nothing to repair.
		return kv.CreateRevision == 0
	}
	return kv.ModRevision <= held.revision
}

// reread reads the node's keys again and looks at all of them at the next
// write. If the node's key is not on our lease any more, neither are we.
func (s *session) reread(ctx context.Context) error {
	if err := s.read(ctx); err != nil {
		return err
	}
	switch {
	case s.node == nil:
		leaseLosses.WithLabelValues(s.p.labels()...).Inc()
		return errLeaseLost
	case s.node.Lease != int64(s.lease):
		return errMoved
	}
	s.p.untake(nil, true)
	s.stale, s.met = false, false
	return nil
}
