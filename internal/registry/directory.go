package registry

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Directory returns the key of the directory that an app was brought up from on
// an engine. It lies beside the credentials: who may read names need not know
// where people keep their files.
func (l Layout) Directory(app, engine string) string {
	return l.Secret(app, "@directory/"+strings.ReplaceAll(engine, "/", "_"))
}

// Directory returns the directory that an app was brought up from on the engine
// with that ID, "" if none is remembered.
func (c *Client) Directory(ctx context.Context, app, engine string) (string, error) {
	var r *clientv3.GetResponse
	err := c.do(ctx, "read the directory of app "+app, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, c.layout.Directory(app, engine))
		return err
	})
	if err != nil || len(r.Kvs) == 0 {
		return "", err
	}
	return string(r.Kvs[0].Value), nil
}

// SetDirectory remembers the directory of an app on an engine; "" forgets it.
func (c *Client) SetDirectory(ctx context.Context, app, engine, directory string) error {
	key := c.layout.Directory(app, engine)
	return c.do(ctx, "write the directory of app "+app, func(ctx context.Context, kv clientv3.KV) (err error) {
		if directory == "" {
			_, err = kv.Delete(ctx, key)
		} else {
			_, err = kv.Put(ctx, key, directory)
		}
		return err
	})
}
