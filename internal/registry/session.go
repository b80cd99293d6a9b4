package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A transaction has at most batchOps writes, each with a comparison beside it
// (etcd's default limit is 128 of either), and batchBytes of values (etcd's
// default limit is 1.5 MiB for a request).
const (
	batchOps   = 100
	batchBytes = 1 << 20
)

var (
	errLeaseLost = errors.New("the node's lease ended")
	// errChanged says that the registry is not as it was when last read.
	errChanged = errors.New("somebody else changed the node's keys")
)

// session is a Publisher's hold on its node: a lease that is alive, the node's
// key on it, and what the node's other keys are.
type session struct {
	p     *Publisher
	etcd  *clientv3.Client
	lease clientv3.LeaseID
	// node is the node's key; every write compares its revision, so that a
	// node that has lost its name, or is being drained, writes nothing.
	node     *mvccpb.KeyValue
	draining bool
	held     map[string]holding
	// stale says that they have to be read again.
	stale bool
}

// holding is an instance as it is registered.
type holding struct {
	value    []byte
	essence  []byte
	revision int64
	lease    clientv3.LeaseID
}

// claim makes the node ours: it takes over our keys of before, with their
// lease if that is still alive, and refuses a name that another engine has.
func (p *Publisher) claim(ctx context.Context) (*session, error) {
	etcd, err := p.client.connect(ctx)
	if err != nil {
		return nil, p.client.inWords(ctx, "write to the registry", err)
	}
	s := &session{p: p, etcd: etcd}
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	if s.node != nil {
		if err := s.adopt(ctx); err != nil {
			return nil, err
		}
	}
	if s.lease == 0 {
		err := p.client.do(ctx, "get a lease", func(ctx context.Context, _ clientv3.KV) error {
			granted, err := etcd.Grant(ctx, int64(p.cfg.TTL/time.Second))
			if err == nil {
				s.lease = granted.ID
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, s.writeNode(ctx)
}

// adopt takes over the lease of the node's key, if that is alive and as long
// as ours would be. Nothing is written then, and no name is gone for a moment.
func (s *session) adopt(ctx context.Context) error {
	lease := clientv3.LeaseID(s.node.Lease)
	if lease == 0 {
		return nil
	}
	return s.p.client.do(ctx, "renew the lease", func(ctx context.Context, _ clientv3.KV) error {
		left, err := s.etcd.TimeToLive(ctx, lease)
		if err != nil || left.GrantedTTL != int64(s.p.cfg.TTL/time.Second) {
			return err
		}
		if alive, err := s.etcd.KeepAliveOnce(ctx, lease); err == nil && alive.TTL > 0 {
			s.lease = lease
		}
		return nil
	})
}

// read reads the node's keys, all at one revision.
func (s *session) read(ctx context.Context) error {
	l := s.p.client.layout
	name := s.p.cfg.Node.Node
	var r *clientv3.TxnResponse
	err := s.p.client.do(ctx, "read the node's keys", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).Then(clientv3.OpGet(l.Node(name)), clientv3.OpGet(l.Instances(name), clientv3.WithPrefix())).Commit()
		return err
	})
	if err != nil {
		return err
	}
	s.node, s.draining = nil, false
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		s.node = kvs[0]
		n, err := DecodeNode(Key{Kind: KindNode, Owner: name}, s.node.Value)
		if err == nil && n.Engine != s.p.cfg.Node.Engine {
			return &TakenError{Node: name, Engine: s.p.cfg.Node.Engine, Other: n.Engine}
		}
		s.draining = err == nil && n.Draining
	}
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

// essence is what makes two instances different: all but the time of the
// event. Writes follow differences of essence only.
func essence(i *Instance) ([]byte, error) {
	e := *i
	e.Observed = time.Time{}
	return Encode(e)
}

func registeredEssence(k Key, value []byte) []byte {
	i, err := DecodeInstance(k, value)
	if err != nil {
		return nil
	}
	b, err := essence(i)
	if err != nil {
		return nil
	}
	return b
}

// writeNode puts the node's own key on the lease.
func (s *session) writeNode(ctx context.Context) error {
	key := s.p.client.layout.Node(s.p.cfg.Node.Node)
	node := s.p.cfg.Node
	node.Draining = s.draining
	var old []byte
	revision := int64(0)
	if s.node != nil {
		old, revision = s.node.Value, s.node.ModRevision
	}
	value, err := Overlay(old, node)
	if err != nil {
		return err
	}
	if s.node != nil && s.node.Lease == int64(s.lease) && s.isNode(node) {
		return nil
	}
	r, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", revision)},
		[]clientv3.Op{clientv3.OpPut(key, string(value), clientv3.WithLease(s.lease))})
	if err != nil {
		return fmt.Errorf("node %s: %w", node.Node, err)
	}
	s.node = &mvccpb.KeyValue{Key: []byte(key), Value: value, ModRevision: r, Lease: int64(s.lease)}
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

func (s *session) commit(ctx context.Context, ifs []clientv3.Cmp, then []clientv3.Op) (revision int64, err error) {
	var r *clientv3.TxnResponse
	err = s.p.client.do(ctx, "write to the registry", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(ifs...).Then(then...).Commit()
		return err
	})
	if err == nil && !r.Succeeded {
		err = errChanged
	}
	if err != nil {
		writeFailures.WithLabelValues(s.p.labels()...).Inc()
		return 0, err
	}
	return r.Header.Revision, nil
}

// write brings the registry to what is wanted. What it could not write is
// still noted as changed when it returns an error.
func (s *session) write(ctx context.Context) error {
	const tries = 5
	var err error
	for range tries {
		ids, all := s.p.take()
		if err = s.writeBatches(ctx, s.changes(ids, all)); err == nil {
			return nil
		}
		s.p.untake(ids, all)
		if !errors.Is(err, errChanged) {
			return err
		}
		if err := s.reread(ctx); err != nil {
			return err
		}
	}
	return err
}

// change is one key to write; a nil value deletes it.
type change struct {
	id       string
	value    []byte
	essence  []byte
	observed time.Time
}

// changes returns what has to be written for the instances ids, or all.
func (s *session) changes(ids map[string]bool, all bool) []change {
	if all {
		ids = map[string]bool{}
		for _, id := range s.p.known() {
			ids[id] = true
		}
		for id := range s.held {
			ids[id] = true
		}
	}
	var cs []change
	for id := range ids {
		if c, differs := s.change(id); differs {
			cs = append(cs, c)
		}
	}
	return cs
}

func (s *session) change(id string) (change, bool) {
	held, isHeld := s.held[id]
	want, leave := s.p.wanted(id)
	if !leave {
		want = s.handOn(id, want)
	}
	switch {
	case s.draining:
		return change{id: id}, isHeld
	case leave:
		// Carried over as it is, if it hangs on a lease that will end.
		return change{id: id, value: held.value, essence: held.essence}, isHeld && held.lease != s.lease
	case want == nil:
		return change{id: id}, isHeld
	}
	e, err := essence(want)
	if err == nil && isHeld && held.lease == s.lease && bytes.Equal(e, held.essence) {
		return change{}, false
	}
	var value []byte
	if err == nil {
		value, err = Overlay(held.value, want)
	}
	if err != nil {
		s.p.log.Error("instance can't be registered", "id", id, "app", want.App, "service", want.Service, "error", err)
		return change{}, false
	}
	return change{id: id, value: value, essence: e, observed: want.Observed}, true
}

func (s *session) writeBatches(ctx context.Context, cs []change) error {
	for len(cs) > 0 {
		n, size := 0, 0
		for n < len(cs) && n < batchOps && (n == 0 || size+len(cs[n].value) <= batchBytes) {
			size += len(cs[n].value)
			n++
		}
		if err := s.writeBatch(ctx, cs[:n]); err != nil {
			return err
		}
		cs = cs[n:]
	}
	return nil
}

// writeBatch compares each key's revision: a write that timed out, and is
// carried out late all the same, can't undo a newer one.
func (s *session) writeBatch(ctx context.Context, cs []change) error {
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(s.node.Key)), "=", s.node.ModRevision)}
	var then []clientv3.Op
	for _, c := range cs {
		key := s.p.client.layout.Instance(s.p.cfg.Node.Node, c.id)
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(key), "=", s.held[c.id].revision))
		if c.value == nil {
			then = append(then, clientv3.OpDelete(key))
		} else {
			then = append(then, clientv3.OpPut(key, string(c.value), clientv3.WithLease(s.lease)))
		}
	}
	revision, err := s.commit(ctx, ifs, then)
	if err != nil {
		return err
	}
	for _, c := range cs {
		s.note(c, revision)
	}
	return nil
}

func (s *session) note(c change, revision int64) {
	labels := s.p.labels()
	if c.value == nil {
		delete(s.held, c.id)
		writes.WithLabelValues(append(labels, "delete")...).Inc()
		return
	}
	s.held[c.id] = holding{value: c.value, essence: c.essence, revision: revision, lease: s.lease}
	writes.WithLabelValues(append(labels, "put")...).Inc()
	if s.p.cfg.OnCommit != nil && !c.observed.IsZero() {
		s.p.cfg.OnCommit(c.id, c.observed, revision)
	}
}
