package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// However the keys lie to the seams, a list has each of them once, in order and
// as of one revision, and etcd isn't made to count the whole rack for each page
// of a rack whose nodes are known.
func TestListPages(t *testing.T) {
	t.Parallel()
	const base = "/rackdns/v1/acme/"
	const large = 16 << 10
	type keys map[string]int // the length of each value
	instances := func(into keys, node string, n, length int) {
		for i := range n {
			into[fmt.Sprintf("%sinstances/%s/%012x", base, node, i)] = length
		}
	}
	for _, tt := range []struct {
		name string
		make func(keys)
		// counted is how many keys etcd may count for each that is listed.
		counted float64
	}{
		{"an empty rack", func(keys) {}, 0},
		{"one page", func(k keys) {
			k[base+"nodes/a"] = 100
			instances(k, "a", 10, 100)
		}, 1},
		{"many nodes", func(k keys) {
			for n := range 60 {
				k[fmt.Sprintf("%snodes/node-%d", base, n)] = 100
				instances(k, fmt.Sprint("node-", n), 30, large)
			}
		}, 3},
		{"nodes of all sizes, and some without an instance", func(k keys) {
			for n := range 40 {
				k[fmt.Sprintf("%snodes/node-%d", base, n)] = 100
				instances(k, fmt.Sprint("node-", n), n%7*n, 2000+n*large/40)
			}
		}, 4},
		{"nodes that are called like a part of another", func(k keys) {
			for _, node := range []string{"a", "a-b", "a.b", "ab", "a0", "b"} {
				k[base+"nodes/"+node] = 100
				instances(k, node, 150, large/2)
			}
		}, 4},
		{"nodes without a key", func(k keys) {
			k[base+"nodes/m"] = 100
			for _, node := range []string{"@api", "a", "m", "z"} {
				instances(k, node, 200, large/4)
			}
		}, 6},
		{"much besides instances", func(k keys) {
			for n := range 700 {
				k[fmt.Sprintf("%sservices/app/s%d", base, n)] = 3000
				k[fmt.Sprintf("%sa/%d", base, n)] = 10
			}
			k[base+"nodes/a"] = 100
			instances(k, "a", 300, 3000)
		}, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, nil)
			want := keys{}
			tt.make(want)
			fill(t, etcd.Client(), want)
			c, err := Open(Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()

			listed, counted := fetchAll(t, &Follower{client: c})
			if order := slices.Sorted(maps.Keys(want)); !slices.Equal(listed, order) {
				t.Errorf("listed %d keys, want the %d that there are, in their order", len(listed), len(want))
			}
			if most := int64(tt.counted*float64(len(want))) + 1; counted > most {
				t.Errorf("etcd counted %d keys to list %d, want %d at most", counted, len(want), most)
			}
		})
	}
}

func fill(t *testing.T, c *clientv3.Client, all map[string]int) {
	t.Helper()
	var ops []clientv3.Op
	size := 0
	commit := func() {
		if _, err := c.Txn(context.Background()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		ops, size = nil, 0
	}
	for key, length := range all {
		ops = append(ops, clientv3.OpPut(key, strings.Repeat("x", length)))
		if size += length; len(ops) == 100 || size > 1<<19 {
			commit()
		}
	}
	commit()
}

// fetchAll returns the keys of all pages, while the rack changes behind the
// first one, and how many keys etcd counted.
func fetchAll(t *testing.T, f *Follower) (listed []string, counted int64) {
	t.Helper()
	n := 0
	err := f.fetch(t.Context(), 0, func(page *clientv3.GetResponse) error {
		if n++; n == 1 {
			late := f.client.layout.Service("too", "late")
			err := f.client.try(t.Context(), func(ctx context.Context, kv clientv3.KV) error {
				_, err := kv.Put(ctx, late, "")
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, kv := range page.Kvs {
			listed = append(listed, string(kv.Key))
		}
		counted += page.Count
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return listed, counted
}
