package registry

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNoSuchNode says that the rack has no node of that name.
var ErrNoSuchNode = errors.New("no such node")

// NodeState is a node with the number of its instances.
type NodeState struct {
	Node
	Instances int64 `json:"instances"`
}

// Nodes returns the nodes of the rack, by name, as of one moment. Those that
// can't be used are left out.
func (c *Client) Nodes(ctx context.Context) ([]NodeState, error) {
	prefix := c.layout.Node("")
	var read *clientv3.GetResponse
	err := c.do(ctx, "list the nodes", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Get(ctx, prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]NodeState, 0, len(read.Kvs))
	for kvs := read.Kvs; len(kvs) > 0; {
		n := min(len(kvs), batchOps)
		counts, err := c.countInstances(ctx, kvs[:n], read.Header.Revision)
		if err != nil {
			return nil, err
		}
		for at, kv := range kvs[:n] {
			name := strings.TrimPrefix(string(kv.Key), prefix)
			if node, err := DecodeNode(Key{Kind: KindNode, Owner: name}, kv.Value); err == nil {
				node.Addresses = append([]netip.Addr{}, node.Addresses...)
				all = append(all, NodeState{*node, counts[at]})
			}
		}
		kvs = kvs[n:]
	}
	return all, nil
}

// countInstances counts those of each of the nodes, at one revision.
func (c *Client) countInstances(ctx context.Context, nodes []*mvccpb.KeyValue, revision int64) ([]int64, error) {
	var ops []clientv3.Op
	for _, kv := range nodes {
		name := strings.TrimPrefix(string(kv.Key), c.layout.Node(""))
		ops = append(ops, clientv3.OpGet(c.layout.Instances(name), clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision)))
	}
	var r *clientv3.TxnResponse
	err := c.do(ctx, "count the instances", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return nil, err
	}
	counts := make([]int64, len(nodes))
	for at := range counts {
		counts[at] = r.Responses[at].GetResponseRange().Count
	}
	return counts, nil
}
