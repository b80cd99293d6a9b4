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
	// The mark first: from then on the agent, if there is one, puts nothing
	// back and removes what is left by itself.
	ops := []clientv3.Op{clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease())}
	if drain {
		for _, kv := range read.Responses[1].GetResponseRange().Kvs {
			ops = append(ops, clientv3.OpDelete(string(kv.Key)))
		}
	}
	revision := kvs[0].ModRevision
	for first := true; len(ops) > 0; first = false {
		n := min(len(ops), batchOps)
		var r *clientv3.TxnResponse
		err := c.do(ctx, "drain the node", func(ctx context.Context, kv clientv3.KV) (err error) {
			r, err = kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(ops[:n]...).Commit()
			return err
		})
		if err != nil {
			return err
		}
		if !r.Succeeded {
			return errChanged
		}
		if first {
			revision = r.Header.Revision
		}
		ops = ops[n:]
	}
	return nil
}
