package registry

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Contact is when a node's agent was last heard of.
type Contact struct {
	// TTL is how long the node's lease lives without a word of its agent, 0 if its
	// key has no lease; Ago how long ago the last word was.
	TTL, Ago time.Duration
}

// Contacts returns of each node that has a key when its agent was last heard of.
func (c *Client) Contacts(ctx context.Context) (map[string]Contact, error) {
	const what = "look when the agents were heard of"
	etcd, err := c.connect(ctx)
	if err != nil {
		return nil, c.inWords(ctx, what, err)
	}
	var read *clientv3.GetResponse
	err = c.do(ctx, what, func(ctx context.Context, kv clientv3.KV) (err error) {
		// Not keys only: etcd 3.7 leaves out the lease then, too.
		read, err = kv.Get(ctx, c.layout.Node(""), clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return nil, err
	}
	all := map[string]Contact{}
	for _, kv := range read.Kvs {
		name := strings.TrimPrefix(string(kv.Key), c.layout.Node(""))
		if kv.Lease == 0 {
			all[name] = Contact{}
			continue
		}
		var left *clientv3.LeaseTimeToLiveResponse
		err := c.do(ctx, what, func(ctx context.Context, _ clientv3.KV) (err error) {
			left, err = etcd.TimeToLive(ctx, clientv3.LeaseID(kv.Lease))
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case left.TTL <= 0:
			// It has just ended.
			continue
		}
		ttl := time.Duration(left.GrantedTTL) * time.Second
		all[name] = Contact{TTL: ttl, Ago: max(ttl-time.Duration(left.TTL)*time.Second, 0)}
	}
	return all, nil
}
