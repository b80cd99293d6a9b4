package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// releaseDigits is how many characters follow the R of a release.
const releaseDigits = 10

// NewRelease returns a name for a release that no other one has.
func NewRelease() string { return "R" + rand.Text()[:releaseDigits] }

// noEngine is the engine of a release that is of the app's environment alone.
const noEngine = ""

// EnvironmentReleases returns the history of an app's environment, the present one
// first: releases without an engine, a manifest and components.
func (c *Client) EnvironmentReleases(ctx context.Context, app string) ([]*Release, error) {
	return c.Releases(ctx, app, noEngine)
}

// AppEnvironment returns an app's environment: what was set for it in the rack,
// wherever it runs. It is empty if nothing was.
func (c *Client) AppEnvironment(ctx context.Context, app string) (map[string]string, error) {
	all, err := c.EnvironmentReleases(ctx, app)
	if err != nil || len(all) == 0 {
		return map[string]string{}, err
	}
	return c.Environment(ctx, app, all[0].Release)
}

// SetEnvironment changes an app's environment, which makes a release of it: change
// may be called several times. If it changes nothing the present release is
// returned, nil if there is none. An error of its own is returned as it is.
func (c *Client) SetEnvironment(ctx context.Context, app, description string, change func(map[string]string) error) (*Release, error) {
	for {
		r, err := c.setEnvironment(ctx, app, description, change)
		if !errors.Is(err, errChanged) {
			return r, err
		}
	}
}

// setEnvironment returns errChanged if it has to be done again.
func (c *Client) setEnvironment(ctx context.Context, app, description string, change func(map[string]string) error) (*Release, error) {
	if err := CheckApp("app", app); err != nil {
		return nil, err
	}
	all, revision, err := c.releases(ctx, app, noEngine)
	if err != nil {
		return nil, err
	}
	was := map[string]string{}
	if len(all) > 0 {
		if was, err = c.Environment(ctx, app, all[0].Release); err != nil {
			return nil, err
		}
	}
	is := maps.Clone(was)
	if err := change(is); err != nil {
		return nil, err
	}
	for name, value := range is {
		if err := CheckVariable(name, value); err != nil {
			return nil, err
		}
	}
	if maps.Equal(was, is) {
		if len(all) > 0 {
			return all[0], nil
		}
		return nil, nil
	}
	now := &Release{
		App: app, Release: NewRelease(), Engine: noEngine, Created: time.Now().UTC().Truncate(time.Second),
		Description: description, Components: map[string]ReleaseComponent{},
	}
	ops, err := c.addRelease(now, is, all)
	if err != nil {
		return nil, err
	}
	// Nobody may have made one meanwhile.
	unchanged := clientv3.Compare(clientv3.CreateRevision(c.layout.Release(app, "")), "<", revision+1).WithPrefix()
	var r *clientv3.TxnResponse
	err = c.do(ctx, "write the environment of app "+app, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(unchanged).Then(ops...).Commit()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !r.Succeeded:
		return nil, errChanged
	}
	return now, nil
}

// CheckVariable checks a variable of an environment. The error doesn't have its
// value.
func CheckVariable(name, value string) error {
	ok := name != "" && len(name) <= 255 && (name[0] < '0' || name[0] > '9')
	for _, c := range []byte(name) {
		ok = ok && (c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}
	switch {
	case !ok:
		return fmt.Errorf("variable %s: want letters, digits and underscores, and no digit first", Quote(name))
	case strings.ContainsAny(value, "\n\r\x00"):
		return fmt.Errorf("variable %s: its value has a line break or a NUL, which what reads environments line by line would cut", name)
	}
	return nil
}

// ParseEnvironment reads an environment of lines NAME=VALUE, byte for byte: nothing
// is quoted. Empty lines are skipped.
func ParseEnvironment(text string) (map[string]string, error) {
	all := map[string]string{}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("line %d of the environment: want NAME=VALUE", n)
		}
		if err := CheckVariable(name, value); err != nil {
			return nil, err
		}
		all[name] = value
	}
	return all, nil
}

// RemoveEnvironment forgets an app's environment with its history.
func (c *Client) RemoveEnvironment(ctx context.Context, app string) error {
	return c.ForgetReleases(ctx, app, noEngine)
}
