package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// claim makes the node ours: it takes over our keys of before, with their
// lease if that is still alive. A name that another agent has it waits for, and
// in the end refuses.
func (p *Publisher) claim(ctx context.Context) (*session, error) {
	s := &session{p: p, own: map[int64]bool{}}
	for {
		etcd, err := p.client.connect(ctx)
		if err != nil {
			return s, p.client.inWords(ctx, "write to the registry", err)
		}
		s.etcd = etcd
		if err := s.read(ctx); err != nil {
			return s, err
		}
		other := s.rival()
		if other == nil {
			break
		}
		if err := p.besiege(ctx, s, other); err != nil {
			return s, err
		}
	}
	p.lifted()
	if err := s.secure(ctx); err != nil {
		return s, err
	}
	p.lease = s.lease
	err := s.writeNode(ctx)
	if errors.Is(err, rpctypes.ErrNoSpace) && s.node != nil && s.node.Lease == int64(s.lease) {
		// The key is there, and ours: that it is an old one must not keep us
		// from renewing its lease, and removing what is gone.
		s.nodeDue, s.apart, err = true, true, nil
	}
	return s, err
}

// secure gets the lease that all hangs on: that of the node's key, or a new one.
func (s *session) secure(ctx context.Context) error {
	var other clientv3.LeaseID
	if s.node != nil {
		var err error
		if other, err = s.adopt(ctx); err != nil {
			return err
		}
	}
	if s.lease != 0 {
		return nil
	}
	s.listed = false
	err := s.p.client.do(ctx, "get a lease", func(ctx context.Context, _ clientv3.KV) error {
		granted, err := s.etcd.Grant(ctx, int64(s.p.cfg.TTL/time.Second))
		if err == nil {
			s.lease = granted.ID
		}
		return err
	})
	if other != 0 && errors.Is(err, rpctypes.ErrNoSpace) {
		// Without space there is no new lease. The one that there is, is longer
		// or shorter than it should be, and keeps what is registered.
		s.lease, err = other, nil
	}
	return err
}

// adopt takes over the lease of the node's key, if that is alive and as long
// as ours would be. Nothing is written then, and no name is gone for a moment.
// If it is alive and of another length, that lease is returned.
func (s *session) adopt(ctx context.Context) (other clientv3.LeaseID, err error) {
	lease := clientv3.LeaseID(s.node.Lease)
	if lease == 0 {
		return 0, nil
	}
	err = s.p.client.do(ctx, "renew the lease", func(ctx context.Context, _ clientv3.KV) error {
		left, err := s.etcd.TimeToLive(ctx, lease)
		if err != nil || left.TTL <= 0 {
			return err
		}
		if left.GrantedTTL != int64(s.p.cfg.TTL/time.Second) {
			other = lease
			return nil
		}
		if alive, err := s.etcd.KeepAliveOnce(ctx, lease); err == nil && alive.TTL > 0 {
			s.lease = lease
		}
		return nil
	})
	return other, err
}

// read reads the node's keys, all at one revision.
func (s *session) read(ctx context.Context) error {
	l := s.p.client.layout
	name := s.p.cfg.Node.Node
	var r *clientv3.TxnResponse
	err := s.p.client.do(ctx, "read the node's keys", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).Then(clientv3.OpGet(l.Node(name)), clientv3.OpGet(l.Instances(name), clientv3.WithPrefix()),
			clientv3.OpGet(l.Drained(name))).Commit()
		return err
	})
	if err != nil {
		return err
	}
	s.revision = r.Header.Revision
	clear(s.own)
	s.node, s.is, s.draining, s.listed = nil, nil, false, false
	s.mark = 0
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		s.node = kvs[0]
		if n, err := DecodeNode(Key{Kind: KindNode, Owner: name}, s.node.Value); err == nil {
			s.is = n
			// Older versions say so there.
			s.draining = n.Draining
			// What another boot listed is gone.
			us := s.p.self()
			s.listed = n.Listed && sameBoot(n, &us)
		}
	}
	word := &Drained{Node: name}
	for _, kv := range r.Responses[2].GetResponseRange().Kvs {
		s.draining, s.mark = true, kv.ModRevision
		if d, err := DecodeDrained(Key{Kind: KindDrained, Owner: name}, kv.Value); err == nil {
			word = d
		}
	}
	s.p.noteDrained(s.draining, word)
	s.held = map[string]holding{}
	for _, kv := range r.Responses[1].GetResponseRange().Kvs {
		id := strings.TrimPrefix(string(kv.Key), l.Instances(name))
		s.held[id] = holding{
			value:    kv.Value,
			essence:  registeredEssence(Key{Kind: KindInstance, Owner: name, Name: id}, kv.Value),
			revision: kv.ModRevision,
			lease:    clientv3.LeaseID(kv.Lease),
		}
	}
	return nil
}

// marked reports whether the node's own key says that the node is drained.
func (s *session) marked() bool { return s.is != nil && s.is.Draining }

// putNode returns what the node's key is to be, and how to put it on the lease.
func (s *session) putNode(listed bool) (*mvccpb.KeyValue, clientv3.Op, error) {
	key := s.p.client.layout.Node(s.p.cfg.Node.Node)
	node := s.p.self()
	node.Draining, node.Listed = s.marked(), listed
	var old []byte
	if s.node != nil {
		old = s.node.Value
	}
	value, err := Overlay(old, node)
	if err != nil {
		return nil, clientv3.Op{}, err
	}
	return &mvccpb.KeyValue{Key: []byte(key), Value: value, Lease: int64(s.lease)}, clientv3.OpPut(key, string(value), clientv3.WithLease(s.lease)), nil
}

// writeNode puts the node's own key on the lease, if it isn't there as it
// should be.
func (s *session) writeNode(ctx context.Context) error {
	node := s.p.self()
	node.Draining, node.Listed = s.marked(), s.listed
	if s.node != nil && s.node.Lease == int64(s.lease) && s.isNode(node) {
		return nil
	}
	kv, put, err := s.putNode(s.listed)
	if err != nil {
		return err
	}
	revision := int64(0)
	if s.node != nil {
		revision = s.node.ModRevision
	}
	r, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", revision)}, []clientv3.Op{put})
	if err != nil {
		return fmt.Errorf("node %s: %w", node.Node, err)
	}
	kv.ModRevision = r
	s.node, s.is, s.nodeDue = kv, &node, false
	return nil
}

// isNode reports whether the node's key says what node does. Its text may be
// another, since Overlay sorts.
func (s *session) isNode(node Node) bool {
	is, err := DecodeNode(Key{Kind: KindNode, Owner: node.Node}, s.node.Value)
	if err != nil {
		return false
	}
	a, errA := Encode(is)
	b, errB := Encode(node)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
