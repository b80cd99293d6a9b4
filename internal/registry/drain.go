package registry

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DrainNode removes all instances of a node at once and tells its agent to
// register nothing; with drain false it takes that back. The node need not be
// there any more, but must be known, else the error wraps [ErrNoSuchNode].
func (c *Client) DrainNode(ctx context.Context, name string, drain bool) error {
	if err := CheckNode(name); err != nil {
		return err
	}
	for {
		err := c.drainNode(ctx, name, drain)
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

func (c *Client) drainNode(ctx context.Context, name string, drain bool) error {
	key := c.layout.Node(name)
	var read *clientv3.TxnResponse
	err := c.do(ctx, "read the node's keys", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Txn(ctx).Then(clientv3.OpGet(key),
			clientv3.OpGet(c.layout.Instances(name), clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
		return err
	})
	if err != nil {
		return err
	}
	kvs := read.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return fmt.Errorf("node %q: %w in rack %s", name, ErrNoSuchNode, c.layout.rack)
	}
	node, err := DecodeNode(Key{Kind: KindNode, Owner: name}, kvs[0].Value)
	if err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	node.Draining = drain
	value, err := Overlay(kvs[0].Value, node)
	if err != nil {
		return err
	}
	var ids []string
	if drain {
		for _, kv := range read.Responses[1].GetResponseRange().Kvs {
			ids = append(ids, string(kv.Key))
		}
	}
	// The mark first, and alone: from then on the agent, if there is one, puts
	// nothing back and removes what is left by itself.
	revision, unmarked := kvs[0].ModRevision, error(nil)
	r, err := c.ifUnchanged(ctx, key, revision, clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease()))
	switch {
	case err == nil:
		revision = r
	case drain && isFull(err):
		// What takes no mark does remove names, and lets nobody put them back.
		unmarked = err
	default:
		return err
	}
	for len(ids) > 0 {
		n := min(len(ids), batchOps)
		var ops []clientv3.Op
		for _, id := range ids[:n] {
			ops = append(ops, clientv3.OpDelete(id))
		}
		if _, err := c.ifUnchanged(ctx, key, revision, ops...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	if unmarked != nil {
		return fmt.Errorf("node %s: its instances are removed, but its agent will put them back once etcd takes writes again: %w", name, unmarked)
	}
	return nil
}

// ifUnchanged does ops if the key still has that revision, and returns the one
// at which they were done; errChanged if it hasn't.
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
