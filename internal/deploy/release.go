package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
)

// record remembers what was brought up, if it isn't what was brought up before,
// and returns the releases that there are, the present one first.
func (u *up) record(ctx context.Context) ([]*registry.Release, error) {
	releases, err := u.registry.Releases(ctx, u.app, u.engineID)
	if err != nil {
		return nil, err
	}
	now := u.asRelease()
	if len(releases) > 0 && releases[0].Same(now) {
		return releases, nil
	}
	env := maps.Clone(u.cfg.Given)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, u.asked)
	err = u.registry.AddRelease(ctx, now, env)
	if errors.Is(err, registry.ErrTooLarge) {
		u.say(u.app, "can't be brought back later by rackdns rollback: its manifest or its environment is too large to be kept")
		err = nil
	}
	return append([]*registry.Release{now}, releases...), err
}

// asRelease is what this run brings up.
func (u *up) asRelease() *registry.Release {
	now := &registry.Release{
		App: u.app, Release: u.release, Engine: u.engineID, Created: time.Now().UTC().Truncate(time.Second),
		File: u.cfg.Manifest.File, Manifest: string(u.cfg.Manifest.Source),
		Asked: slices.Sorted(maps.Keys(u.asked)), Shared: u.shared, Components: map[string]registry.ReleaseComponent{},
	}
	if u.cfg.back != nil && !u.cfg.promoted {
		now.From = u.cfg.back.Release
	}
	for _, c := range u.components {
		now.Components[c.service] = registry.ReleaseComponent{Hash: c.hash, Count: c.count, Image: c.spec.Image, ImageName: c.image}
	}
	return now
}

// recalledImage is the one that a component had in the release to go back to.
func (u *up) recalledImage(ctx context.Context, c *component) error {
	was, ok := u.cfg.back.Components[c.service]
	if !ok {
		return fmt.Errorf("%s: release %s of app %s has none of it", c, u.cfg.back.Release, u.app)
	}
	if _, err := u.imageID(ctx, was.Image); errdefs.IsNotFound(err) {
		return fmt.Errorf("%s: image %s of release %s is gone from this engine (%s): nothing was changed; bring the app up from its sources", c, was.ImageName, u.cfg.back.Release, was.Image)
	} else if err != nil {
		return fmt.Errorf("%s: image %s: %w", c, was.ImageName, err)
	}
	c.image, c.spec.Image = was.Image, was.Image
	// The name is nicer to read, if it still means that.
	if id, err := u.imageID(ctx, was.ImageName); err == nil && id == was.Image {
		c.image = was.ImageName
	}
	return nil
}

// RollbackConfig says what to bring back.
type RollbackConfig struct {
	// UpConfig lacks the manifest and the environment.
	UpConfig
	// Release is the one to bring back, empty for the one before.
	Release string
	// present says that it is the present one.
	present bool
}

// Rollback brings an app up as an earlier release of it was, with the images and
// the environment that it had.
func Rollback(ctx context.Context, cfg RollbackConfig) error {
	s := newSite(cfg.Config)
	return s.locked(ctx, cfg.Config, func(ctx context.Context, r *registry.Client) error {
		up, err := s.recallRelease(ctx, r, cfg)
		if err != nil {
			return err
		}
		u := newUp(up)
		u.Client = s.Client
		u.say(u.app, "goes back to release %s of %s", up.back.Release, up.back.Created.Format(time.RFC3339))
		return u.run(ctx, r)
	})
}

// Promote has an app run with the environment that the rack has for it now: the
// services that list what has changed are replaced, as the present release has them.
func Promote(ctx context.Context, cfg UpConfig) error {
	s := newSite(cfg.Config)
	return s.locked(ctx, cfg.Config, func(ctx context.Context, r *registry.Client) error {
		up, err := s.recallRelease(ctx, r, RollbackConfig{UpConfig: cfg, present: true})
		if err != nil {
			return err
		}
		for _, name := range up.back.Shared {
			delete(up.Given, name)
		}
		up.promoted = true
		u := newUp(up)
		u.Client = s.Client
		return u.run(ctx, r)
	})
}

// recallRelease returns what brings the release up again.
func (s *site) recallRelease(ctx context.Context, r *registry.Client, cfg RollbackConfig) (UpConfig, error) {
	up := cfg.UpConfig
	if err := s.survey(ctx, &progress{w: io.Discard}); err != nil {
		return up, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return up, fmt.Errorf("ask the Docker Engine who it is: %w", err)
	}
	releases, err := r.Releases(ctx, s.app, info.ID)
	if err != nil {
		return up, err
	}
	switch {
	case !cfg.present:
		up.back, err = chooseRelease(s.app, releases, cfg.Release, s.have)
	case len(releases) == 0:
		err = fmt.Errorf("app %s: was not brought up on this host; rackdns up does that", s.app)
	default:
		up.back = releases[0]
	}
	if err != nil {
		return up, err
	}
	if up.Directory, err = r.Directory(ctx, s.app, info.ID); err != nil {
		return up, err
	}
	// Which app it is was said, and it stays that of its directory.
	up.Named = true
	env, err := r.Environment(ctx, s.app, up.back.Release)
	if err != nil {
		return up, err
	}
	asked := map[string]string{}
	for _, name := range up.back.Asked {
		asked[name] = env[name]
		delete(env, name)
	}
	up.Given = env
	up.Ask = func(name string) (string, bool) {
		value, ok := asked[name]
		return value, ok
	}
	if up.Manifest, err = manifest.Parse(up.back.File, []byte(up.back.Manifest)); err != nil {
		return up, fmt.Errorf("the manifest of release %s: %w", up.back.Release, err)
	}
	return up, nil
}

// chooseRelease returns the release of that name, or the one before the present
// one: the last that is another one than what runs. Should what runs be none of
// them, such as after an up that failed halfway, it is the last.
func chooseRelease(app string, releases []*registry.Release, name string, have []*existing) (*registry.Release, error) {
	if name != "" {
		for _, r := range releases {
			if strings.EqualFold(r.Release, name) {
				return r, nil
			}
		}
		return nil, fmt.Errorf("app %s: has no release %s on this engine; rackdns releases %[1]s lists those that it has", app, registry.Quote(name))
	}
	if len(releases) > 0 && !asReleased(releases[0], have) {
		return releases[0], nil
	}
	if len(releases) < 2 {
		return nil, fmt.Errorf("app %s: there is no release before this one to go back to", app)
	}
	return releases[1], nil
}

// asReleased reports whether all that runs is of a release.
func asReleased(r *registry.Release, have []*existing) bool {
	return !slices.ContainsFunc(have, func(e *existing) bool { return e.running && r.Components[e.service].Hash != e.hash })
}

// Releases returns the releases of an app on an engine, the newest first.
func Releases(ctx context.Context, cfg Config) ([]*registry.Release, error) {
	c, err := dockerclient.Dial(cfg.Docker)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker Engine who it is: %w", err)
	}
	r, err := registry.Open(cfg.Registry)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Releases(ctx, cfg.App, info.ID)
}
