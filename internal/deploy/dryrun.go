package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"github.com/rackdns/rackdns/internal/registry"
)

// rehearse works everything out, and says what would be done.
func (u *up) rehearse(ctx context.Context, r *registry.Client) (err error) {
	u.registry = r
	if u.index, err = follow(ctx, u.cfg.Registry); err != nil {
		return err
	}
	defer u.index.Close()
	if err := u.prepare(ctx); err != nil {
		return err
	}
	_, err = u.NetworkInspect(ctx, networkName(u.rack), network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		u.say("network", "would make %s", networkName(u.rack))
	} else if err != nil {
		return fmt.Errorf("inspect network %s: %w", networkName(u.rack), err)
	}
	for _, c := range u.components {
		for _, line := range c.wouldDo() {
			u.say(c.name, "%s", line)
		}
	}
	for _, e := range u.gone {
		u.say(e.component(), "would stop %s, which the manifest does not have any more", e)
	}
	return nil
}

// wouldDo says what its steps would do.
func (c *component) wouldDo() []string {
	if !changes(c.steps) {
		if c.build != nil {
			return []string{"unchanged, unless the build gives another image"}
		}
		return []string{"unchanged"}
	}
	var all []string
	for _, s := range c.steps {
		switch s.action {
		case discard:
			all = append(all, "would remove "+s.container.String()+", which does not run")
		case keep:
			all = append(all, "would keep "+s.container.String())
		case start:
			all = append(all, fmt.Sprintf("would start instance %d and wait until it serves", s.number))
		case stop:
			all = append(all, "would stop "+s.container.released())
		case ready:
			all = append(all, "would make "+(&existing{number: s.number}).String()+", which "+c.times(time.Now()))
		case replace:
			all = append(all, fmt.Sprintf("would stop %s and then start instance %d in its place", s.container.released(), s.number))
		}
	}
	return all
}

// supposedImage is the image that a component has before anything is built or
// pulled for it.
func (u *up) supposedImage(ctx context.Context, c *component) error {
	if c.build != nil {
		u.say(c.name, "would build %s", c.build.Path)
		for _, e := range inOrder(u.have) {
			if e.service == c.service && e.running {
				c.spec.Image = e.image
			}
		}
		return nil
	}
	id, err := u.imageID(ctx, c.image)
	switch {
	case errdefs.IsNotFound(err):
		u.say(c.name, "would pull %s", c.image)
		return nil
	case err != nil:
		return fmt.Errorf("%s: image %s: %w", c, c.image, err)
	case u.cfg.Pull && !isID(c.image):
		u.say(c.name, "would look for a newer %s", c.image)
	}
	c.spec.Image = id
	return nil
}
