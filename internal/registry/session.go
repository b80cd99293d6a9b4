package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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
	// errMoved says that nothing of it is ours any more.
	errMoved = errors.New("somebody else moved the node's key to another lease")
)

// session is a Publisher's hold on its node: a lease that is alive, the node's
// key on it, and what the node's other keys are.
type session struct {
	p     *Publisher
	etcd  *clientv3.Client
	lease clientv3.LeaseID
	// node is the node's key, and is what it says, nil if that can't be read;
	// every write compares its revision, so that a node that has lost its name,
	// or is being drained, writes nothing. nodeDue says that it is not as it
	// should be.
	node     *mvccpb.KeyValue
	is       *Node
	nodeDue  bool
	draining bool
	// listed says that the node's key says so.
	listed bool
	held   map[string]holding
	// revision is the one that all of it was read at, and own has those of our
	// writes since.
	revision int64
	own      map[int64]bool
	// stale says that they have to be read again; met, that this is because
	// somebody else changed them.
	stale, met bool
	// apart says that etcd refused a put lately: then nothing is to wait for
	// one.
	apart bool
}

// holding is an instance as it is registered.
type holding struct {
	value    []byte
	essence  []byte
	revision int64
	lease    clientv3.LeaseID
}

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
		r, err = kv.Txn(ctx).Then(clientv3.OpGet(l.Node(name)), clientv3.OpGet(l.Instances(name), clientv3.WithPrefix())).Commit()
		return err
	})
	if err != nil {
		return err
	}
	s.revision = r.Header.Revision
	clear(s.own)
	s.node, s.is, s.draining, s.listed = nil, nil, false, false
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		s.node = kvs[0]
		if n, err := DecodeNode(Key{Kind: KindNode, Owner: name}, s.node.Value); err == nil {
			s.is = n
			s.draining = n.Draining
			// What another boot listed is gone.
			s.listed = n.Listed && sameBoot(n, &s.p.cfg.Node)
		}
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

// putNode returns what the node's key is to be, and how to put it on the lease.
func (s *session) putNode(listed bool) (*mvccpb.KeyValue, clientv3.Op, error) {
	key := s.p.client.layout.Node(s.p.cfg.Node.Node)
	node := s.p.cfg.Node
	node.Draining, node.Listed = s.draining, listed
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
	node := s.p.cfg.Node
	node.Draining, node.Listed = s.draining, s.listed
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
	s.own[r.Header.Revision] = true
	return r.Header.Revision, nil
}

// write brings the registry to what is wanted. What it could not write is
// still noted as changed when it returns an error.
func (s *session) write(ctx context.Context) error {
	ids, all := s.p.take()
	// That everything was written can be said once everything was looked at.
	listing := !s.listed && !s.draining && s.p.isReplaced()
	all = all || listing
	var err error
	if !s.apart {
		err = s.writeBatches(ctx, s.changes(ids, all), listing)
		s.apart = isRefusedPut(err)
	}
	if s.apart {
		err = s.writeApart(ctx, s.changes(ids, all), listing)
	}
	if err != nil {
		s.p.untake(ids, all)
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

// writeBatches writes changes, those that add something first: what takes the
// place of something else must not come after its end. With listing, the node's
// key says at the end that this was all.
func (s *session) writeBatches(ctx context.Context, cs []change, listing bool) error {
	slices.SortStableFunc(cs, func(a, b change) int {
		switch {
		case (a.value == nil) == (b.value == nil):
			return 0
		case a.value == nil:
			return 1
		}
		return -1
	})
	for len(cs) > 0 || listing {
		n, size := 0, 0
		for n < len(cs) && n < batchOps && (n == 0 || size+len(cs[n].value) <= batchBytes) {
			size += len(cs[n].value)
			n++
		}
		last := n == len(cs)
		if err := s.writeBatch(ctx, cs[:n], listing && last); err != nil {
			return err
		}
		if last {
			return nil
		}
		cs = cs[n:]
	}
	return nil
}

// writeBatch compares each key's revision: a write that timed out, and is
// carried out late all the same, can't undo a newer one.
func (s *session) writeBatch(ctx context.Context, cs []change, listing bool) error {
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
	var node *mvccpb.KeyValue
	if listing {
		kv, put, err := s.putNode(true)
		if err != nil {
			return err
		}
		node = kv
		then = append(then, put)
	}
	revision, err := s.commit(ctx, ifs, then)
	if err != nil {
		return err
	}
	if node != nil {
		node.ModRevision = revision
		is := s.p.cfg.Node
		is.Draining, is.Listed = s.draining, true
		s.node, s.is, s.listed, s.nodeDue = node, &is, true, false
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
