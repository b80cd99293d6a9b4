package registry

import (
	"bytes"
	"context"
	"errors"
	"slices"
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
	// mark is the revision of the key that says that the node is drained, 0 if
	// there is none. Writes of instances compare it, too.
	mark int64
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
	s.inherit()
	ids, all := s.p.take()
	// That everything was written can be said once everything was looked at.
	listing := !s.listed && !s.draining && s.p.isReplaced()
	all = all || listing
	if s.p.takeNode() {
		s.nodeDue = true
	}
	var err error
	if s.nodeDue && !s.apart {
		// First: an instance may be on a network that is new.
		err = s.writeNode(ctx)
		s.apart = isRefusedPut(err)
	}
	if err == nil && !s.apart {
		err = s.writeBatches(ctx, s.changes(ids, all), listing)
		s.apart = isRefusedPut(err)
	}
	if s.apart && (err == nil || isRefusedPut(err)) {
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
	ifs := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(string(s.node.Key)), "=", s.node.ModRevision),
		clientv3.Compare(clientv3.ModRevision(s.p.client.layout.Drained(s.p.cfg.Node.Node)), "=", s.mark),
	}
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
		is := s.p.self()
		is.Draining, is.Listed = s.marked(), true
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
