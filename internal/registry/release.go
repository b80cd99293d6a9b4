package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// KeptReleases is how many releases of an app on one engine are remembered.
const KeptReleases = 20

// Release is what an app was brought up as on one engine, with all that brings it
// up so again. Its environment lies beside it: see [Client.Environment].
type Release struct {
	App     string `json:"app"`
	Release string `json:"release"`
	// Engine is the ID of the engine that has the images.
	Engine  string    `json:"engine"`
	Created time.Time `json:"created"`
	// From is the release that this one has brought back, empty if none.
	From string `json:"from,omitempty"`
	// Description says what made it, empty if that is nothing but its time.
	Description string `json:"description,omitempty"`
	// File is what the manifest was called, Manifest its text.
	File     string `json:"file"`
	Manifest string `json:"manifest"`
	// Asked are the variables of the environment that came from whoever brought
	// it up, not from the app's file.
	Asked []string `json:"asked,omitempty"`
	// Shared are those that came from the rack: see [Client.AppEnvironment].
	Shared []string `json:"shared,omitempty"`
	// Components are what it is made of, by the service that their containers are
	// instances of.
	Components map[string]ReleaseComponent `json:"components"`
}

// ReleaseComponent is a service or a resource of a release.
type ReleaseComponent struct {
	// Hash is of all that makes its containers.
	Hash  string `json:"hash"`
	Count int    `json:"count"`
	// Image is the image's ID, ImageName what it was called.
	Image     string `json:"image"`
	ImageName string `json:"imageName"`
}

// Release returns the key of a release. It lies beside the credentials, since a
// manifest may have some.
func (l Layout) Release(app, release string) string { return l.Secret(app, "@release/"+release) }

// Environment returns the key of a release's environment.
func (l Layout) Environment(app, release string) string { return l.Secret(app, "@env/"+release) }

// Releases returns the releases of an app on an engine, the newest first. What
// can't be read is left out.
func (c *Client) Releases(ctx context.Context, app, engine string) ([]*Release, error) {
	all, _, err := c.releases(ctx, app, engine)
	return all, err
}

// releases is Releases, and returns at which revision that was so.
func (c *Client) releases(ctx context.Context, app, engine string) (all []*Release, revision int64, err error) {
	if err := CheckApp("app", app); err != nil {
		return nil, 0, err
	}
	var r *clientv3.GetResponse
	err = c.do(ctx, "read the releases of app "+app, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, c.layout.Release(app, ""), clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, kv := range r.Kvs {
		var one Release
		if json.Unmarshal(kv.Value, &one) == nil && one.Engine == engine && c.layout.Release(app, one.Release) == string(kv.Key) {
			all = append(all, &one)
		}
	}
	return all, r.Header.Revision, nil
}

// Environment returns the app's environment of a release.
func (c *Client) Environment(ctx context.Context, app, release string) (map[string]string, error) {
	var r *clientv3.GetResponse
	err := c.do(ctx, "read the environment of release "+release, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, c.layout.Environment(app, release))
		return err
	})
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, kv := range r.Kvs {
		// What is wrong in it may be a secret.
		if json.Unmarshal(kv.Value, &env) != nil {
			return nil, fmt.Errorf("the environment of release %s of app %s: is no JSON object of strings", release, app)
		}
	}
	return env, nil
}

// AddRelease remembers a release with its environment, and forgets those that are
// too old.
func (c *Client) AddRelease(ctx context.Context, r *Release, env map[string]string) error {
	all, err := c.Releases(ctx, r.App, r.Engine)
	if err != nil {
		return err
	}
	ops, err := c.addRelease(r, env, all)
	if err != nil {
		return err
	}
	return c.do(ctx, "write release "+r.Release, func(ctx context.Context, kv clientv3.KV) error {
		_, err := kv.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

// addRelease is what adds a release to those that there are.
func (c *Client) addRelease(r *Release, env map[string]string, all []*Release) ([]clientv3.Op, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	environment, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	if len(value) > MaxValue || len(environment) > MaxValue {
		return nil, fmt.Errorf("release %s: %w", r.Release, ErrTooLarge)
	}
	ops := []clientv3.Op{
		clientv3.OpPut(c.layout.Release(r.App, r.Release), string(value)),
		clientv3.OpPut(c.layout.Environment(r.App, r.Release), string(environment)),
	}
	for _, old := range all[min(len(all), KeptReleases-1):] {
		ops = append(ops, c.forget(old)...)
	}
	return ops, nil
}

func (c *Client) forget(r *Release) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpDelete(c.layout.Release(r.App, r.Release)), clientv3.OpDelete(c.layout.Environment(r.App, r.Release)),
	}
}

// ForgetReleases forgets the releases of an app on an engine.
func (c *Client) ForgetReleases(ctx context.Context, app, engine string) error {
	all, err := c.Releases(ctx, app, engine)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(all, batchOps/2) {
		var ops []clientv3.Op
		for _, r := range batch {
			ops = append(ops, c.forget(r)...)
		}
		err = cmp.Or(err, c.do(ctx, "forget the releases of app "+app, func(ctx context.Context, kv clientv3.KV) error {
			_, err := kv.Txn(ctx).Then(ops...).Commit()
			return err
		}))
	}
	return err
}

// Same reports whether two releases bring up the same.
func (r *Release) Same(o *Release) bool {
	if r == nil || o == nil || len(r.Components) != len(o.Components) {
		return false
	}
	for name, c := range r.Components {
		if is, ok := o.Components[name]; !ok || is.Hash != c.Hash || is.Count != c.Count {
			return false
		}
	}
	return true
}
