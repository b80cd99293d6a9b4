package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/lasting"
)

// KeepNode keeps alive what a node has in the registry, if ours says of its
// key that it is the caller's, until ctx ends. It writes nothing. It is for an
// agent that doesn't know yet for which engine it writes, and so can't claim
// the node: the [Publisher] that follows does that, or refuses to.
func (c *Client) KeepNode(ctx context.Context, name string, ours func(*Node) bool, log *slog.Logger) {
	log = log.With("rack", c.layout.Rack(), "node", name)
	k := keeper{client: c, name: name, ours: ours, log: log, down: lasting.New(log)}
	retry := newRetry()
	for ctx.Err() == nil {
		err := k.keep(ctx, retry.Reset)
		if ctx.Err() == nil && err != nil && !errors.Is(err, errLeft) {
			k.down.Note("can't keep the node's names in the registry, and keep trying", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(Patience(err, k.down.Since(), retry.NextBackOff())):
		}
	}
}

// keeper is one call of KeepNode.
type keeper struct {
	client *Client
	name   string
	ours   func(*Node) bool
	log    *slog.Logger
	// down and kept are what the log was told.
	down *lasting.Trouble
	kept clientv3.LeaseID
}

// keep returns when the node's key has to be read again.
func (k *keeper) keep(ctx context.Context, works func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	etcd, err := k.client.connect(ctx)
	if err != nil {
		return k.client.inWords(ctx, "read the registry", err)
	}
	key := k.client.layout.Node(k.name)
	var read *clientv3.GetResponse
	err = k.client.do(ctx, "read the node's key", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Get(ctx, key)
		return err
	})
	if err != nil {
		return err
	}
	lease, err := k.lease(read)
	if err != nil {
		return err
	}
	var alive <-chan error
	if lease != 0 {
		if alive, err = k.client.keepAlive(ctx, etcd, lease, DefaultTTL); err != nil {
			return err
		}
	}
	changes := etcd.Watch(ctx, key, clientv3.WithRev(read.Header.Revision+1))
	refresh := time.NewTimer(refreshInterval)
	defer refresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-refresh.C:
			k.works(works)
			return nil
		case <-changes:
			return nil
		case err, ok := <-alive:
			if !ok {
				return errLeaseLost
			}
			if err != nil {
				return err
			}
			k.works(works)
			if k.kept != lease {
				k.kept = lease
				k.log.Info("keeping the names that this node has in the registry")
			}
		}
	}
}

func (k *keeper) works(works func()) {
	k.down.Over("the node's names in the registry are kept again")
	works()
}

// lease returns the lease of the node's key, or none if that isn't ours.
func (k *keeper) lease(read *clientv3.GetResponse) (clientv3.LeaseID, error) {
	if len(read.Kvs) == 0 {
		return 0, nil
	}
	n, err := DecodeNode(Key{Kind: KindNode, Owner: k.name}, read.Kvs[0].Value)
	if err != nil {
		return 0, fmt.Errorf("key %s: %w", read.Kvs[0].Key, err)
	}
	if !k.ours(n) {
		return 0, nil
	}
	return clientv3.LeaseID(read.Kvs[0].Lease), nil
}
