package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/near"
)

// Racks returns the names of the racks that anything is known of below the
// prefix, in order. It takes one small read for each.
func (c *Client) Racks(ctx context.Context) ([]string, error) {
	var all []string
	base := c.layout.racks()
	for from := base; ; {
		var r *clientv3.GetResponse
		err := c.do(ctx, "list the racks", func(ctx context.Context, kv clientv3.KV) (err error) {
			r, err = kv.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(base)), clientv3.WithLimit(1), clientv3.WithKeysOnly())
			return err
		})
		if err != nil || len(r.Kvs) == 0 {
			return all, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(string(r.Kvs[0].Key), base), "/")
		if IsLabel(name) {
			all = append(all, name)
		}
		from = clientv3.GetPrefixRangeEnd(base + name + "/")
	}
}

// CheckRack returns an error that names the racks that there are if there is
// nothing of the client's, but is of others. Those who may not read that are told
// nothing.
func (c *Client) CheckRack(ctx context.Context) error {
	racks, err := c.Racks(ctx)
	if err != nil || len(racks) == 0 || slices.Contains(racks, c.layout.rack) {
		return nil
	}
	return fmt.Errorf("rack %s: there is none in the registry%s", Quote(c.layout.rack), near.Instead(c.layout.rack, racks))
}
