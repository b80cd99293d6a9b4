package registry

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNoSuchNode says that the rack has no node of that name.
var ErrNoSuchNode = errors.New("no such node")

// NodeState is a node with the number of its instances.
type NodeState struct {
	Node
	Instances int64 `json:"instances"`
	// Drained is the operator's word that it is, nil if it isn't; Absent says
	// that there is nothing else of the node.
	Drained *Drained `json:"drained,omitempty"`
	Absent  bool     `json:"absent,omitempty"`
}

// Nodes returns the nodes of the rack, by name, as of one moment: those that have
// an agent, and those that are drained. Those that can't be used are left out.
func (c *Client) Nodes(ctx context.Context) ([]NodeState, error) {
	var read *clientv3.TxnResponse
	err := c.do(ctx, "list the nodes", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Txn(ctx).Then(clientv3.OpGet(c.layout.Node(""), clientv3.WithPrefix()), clientv3.OpGet(c.layout.Drained(""), clientv3.WithPrefix())).Commit()
		return err
	})
	if err != nil {
		return nil, err
	}
	known := map[string]*NodeState{}
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		name := strings.TrimPrefix(string(kv.Key), c.layout.Node(""))
		if node, err := DecodeNode(Key{Kind: KindNode, Owner: name}, kv.Value); err == nil {
			known[name] = &NodeState{Node: *node}
		}
	}
	for _, kv := range read.Responses[1].GetResponseRange().Kvs {
		name := strings.TrimPrefix(string(kv.Key), c.layout.Drained(""))
		d, err := DecodeDrained(Key{Kind: KindDrained, Owner: name}, kv.Value)
		if err != nil {
			continue
		}
		if known[name] == nil {
			known[name] = &NodeState{Node: Node{Node: name}, Absent: true}
		}
		known[name].Drained, known[name].Draining = d, true
	}
	all := make([]NodeState, 0, len(known))
	for _, name := range slices.Sorted(maps.Keys(known)) {
		n := known[name]
		n.Addresses = append([]netip.Addr{}, n.Addresses...)
		all = append(all, *n)
	}
	for rest := all; len(rest) > 0; {
		n := min(len(rest), batchOps)
		if err := c.countInstances(ctx, rest[:n], read.Header.Revision); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return all, nil
}

// countInstances counts those of each of the nodes, at one revision.
func (c *Client) countInstances(ctx context.Context, nodes []NodeState, revision int64) error {
	var ops []clientv3.Op
	for n := range nodes {
		ops = append(ops, clientv3.OpGet(c.layout.Instances(nodes[n].Node.Node), clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision)))
	}
	var r *clientv3.TxnResponse
	err := c.do(ctx, "count the instances", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	for n := range nodes {
		nodes[n].Instances = r.Responses[n].GetResponseRange().Count
	}
	return nil
}

// Drained returns the operator's word that a node is drained, nil if it isn't.
func (c *Client) Drained(ctx context.Context, node string) (*Drained, error) {
	s, err := c.readDrainState(ctx, node)
	if err != nil {
		return nil, err
	}
	if s.mark != 0 {
		return DecodeDrained(Key{Kind: KindDrained, Owner: node}, s.word)
	}
	if n, err := DecodeNode(Key{Kind: KindNode, Owner: node}, s.value); err == nil && n.Draining {
		return &Drained{Node: node}, nil
	}
	return nil, nil
}

// InstancesOf returns what is registered of a node's instances. Those that can't
// be used are left out.
func (c *Client) InstancesOf(ctx context.Context, node string) ([]*Instance, error) {
	prefix := c.layout.Instances(node)
	var read *clientv3.GetResponse
	err := c.do(ctx, "read the node's instances", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Get(ctx, prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []*Instance
	for _, kv := range read.Kvs {
		k := Key{Kind: KindInstance, Owner: node, Name: strings.TrimPrefix(string(kv.Key), prefix)}
		if i, err := DecodeInstance(k, kv.Value); err == nil {
			all = append(all, i)
		}
	}
	return all, nil
}
