package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Drained is an operator's word that nobody is to be told of a node's instances.
// It hangs on no lease: it holds until it is taken back, whatever becomes of the
// node, its agent and its host meanwhile.
type Drained struct {
	Node string `json:"node"`
	// By is who said so, such as "ann@host", and Why the reason that was given,
	// both perhaps empty.
	By  string    `json:"by"`
	At  time.Time `json:"at"`
	Why string    `json:"why,omitempty"`
}

// DecodeDrained decodes and checks the value of a drained node's key. That there
// is the key is the word: one whose value can't be read says less, and no less
// holds.
func DecodeDrained(k Key, value []byte) (*Drained, error) {
	d := new(Drained)
	if err := decode(value, d); err != nil {
		d = new(Drained)
	}
	d.Node, d.By, d.Why = k.Owner, oneLine(d.By), oneLine(d.Why)
	return d, CheckNode(k.Owner)
}

// String says by whom, since when and why, as far as that is known: "drained by
// ann@host since 2026-11-20T09:32:51Z: new kernel".
func (d *Drained) String() string {
	s := "drained"
	if d.By != "" {
		s += " by " + d.By
	}
	if !d.At.IsZero() {
		s += " since " + d.At.UTC().Format(time.RFC3339)
	}
	if d.Why != "" {
		s += ": " + d.Why
	}
	return s
}

// DrainNode has nobody told of a node's instances until [Client.UndrainNode]: it
// says so in the registry, and removes them at once. The node must have an agent,
// or have been drained before, unless absent is true; else the error wraps
// [ErrNoSuchNode].
func (c *Client) DrainNode(ctx context.Context, d Drained, absent bool) error {
	if err := CheckNode(d.Node); err != nil {
		return err
	}
	for {
		err := c.drainNode(ctx, d, absent)
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// drainState is what the registry has of a node that is to be drained, or not
// any more.
type drainState struct {
	// mark and node are the revisions of the drained node's key and of the
	// node's own, 0 if it isn't there; word and value are what they say.
	mark, node  int64
	word, value []byte
	instances   []string
}

func (c *Client) readDrainState(ctx context.Context, name string) (s drainState, err error) {
	var read *clientv3.TxnResponse
	err = c.do(ctx, "read the node's keys", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Txn(ctx).Then(clientv3.OpGet(c.layout.Drained(name)), clientv3.OpGet(c.layout.Node(name)),
			clientv3.OpGet(c.layout.Instances(name), clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
		return err
	})
	if err != nil {
		return s, err
	}
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		s.mark, s.word = kv.ModRevision, kv.Value
	}
	for _, kv := range read.Responses[1].GetResponseRange().Kvs {
		s.node, s.value = kv.ModRevision, kv.Value
	}
	for _, kv := range read.Responses[2].GetResponseRange().Kvs {
		s.instances = append(s.instances, string(kv.Key))
	}
	return s, nil
}

func (c *Client) drainNode(ctx context.Context, d Drained, absent bool) error {
	s, err := c.readDrainState(ctx, d.Node)
	if err != nil {
		return err
	}
	if s.node == 0 && s.mark == 0 && !absent {
		return fmt.Errorf("node %q: %w in rack %s", d.Node, ErrNoSuchNode, c.layout.rack)
	}
	value, err := Encode(d)
	if err != nil {
		return err
	}
	// The mark first, and alone: from then on the agent, if there is one, puts
	// nothing back and removes what is left by itself.
	key := c.layout.Drained(d.Node)
	guard, unmarked := key, error(nil)
	var revision int64
	switch r, err := c.ifUnchanged(ctx, key, s.mark, clientv3.OpPut(key, string(value))); {
	case err == nil:
		revision = r
	case isFull(err):
		// What takes no mark does remove names, and lets nobody put them back.
		guard, revision, unmarked = c.layout.Node(d.Node), s.node, err
	default:
		return err
	}
	for ids := s.instances; len(ids) > 0; {
		n := min(len(ids), batchOps)
		var ops []clientv3.Op
		for _, id := range ids[:n] {
			ops = append(ops, clientv3.OpDelete(id))
		}
		if _, err := c.ifUnchanged(ctx, guard, revision, ops...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	if unmarked != nil && s.mark == 0 {
		return fmt.Errorf("node %s: its instances are removed, but its agent will put them back once etcd takes writes again: %w", d.Node, unmarked)
	}
	return nil
}

// UndrainNode takes back [Client.DrainNode]: the node's agent registers its
// containers again. It does nothing for a node that isn't drained; the error of
// one that isn't there wraps [ErrNoSuchNode].
func (c *Client) UndrainNode(ctx context.Context, name string) error {
	if err := CheckNode(name); err != nil {
		return err
	}
	for {
		err := c.undrainNode(ctx, name)
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

func (c *Client) undrainNode(ctx context.Context, name string) error {
	s, err := c.readDrainState(ctx, name)
	if err != nil {
		return err
	}
	if s.node == 0 && s.mark == 0 {
		return fmt.Errorf("node %q: %w in rack %s", name, ErrNoSuchNode, c.layout.rack)
	}
	if s.mark != 0 {
		key := c.layout.Drained(name)
		if _, err := c.ifUnchanged(ctx, key, s.mark, clientv3.OpDelete(key)); err != nil {
			return err
		}
	}
	// Older versions had the mark in the node's own key.
	node, err := DecodeNode(Key{Kind: KindNode, Owner: name}, s.value)
	if err != nil || !node.Draining {
		return nil
	}
	node.Draining = false
	value, err := Overlay(s.value, node)
	if err != nil {
		return err
	}
	key := c.layout.Node(name)
	_, err = c.ifUnchanged(ctx, key, s.node, clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease()))
	return err
}

// ifUnchanged does ops if the key still has that revision, 0 if there is none,
// and returns the one at which they were done; errChanged if it hasn't.
func (c *Client) ifUnchanged(ctx context.Context, key string, revision int64, ops ...clientv3.Op) (int64, error) {
	var r *clientv3.TxnResponse
	err := c.do(ctx, "drain the node", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(ops...).Commit()
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case !r.Succeeded:
		return 0, errChanged
	}
	return r.Header.Revision, nil
}
