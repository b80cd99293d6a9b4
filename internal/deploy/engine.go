package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// site is where an app is: an engine, and there what is the app's.
type site struct {
	*client.Client
	// host is the engine's address as it was given.
	host      string
	rack, app string
	// directory is the manifest's; named says that the app was given by its name.
	directory string
	named     bool
	// engineID is the engine's, remembered the directory that the app was brought
	// up from there.
	engineID, remembered string
	// have are the app's containers, data the volumes of its resources.
	have  []*existing
	data  []*volume.Volume
	names names
}

func newSite(cfg Config) site {
	return site{host: cfg.Docker, rack: cfg.Registry.Rack, app: cfg.App, directory: cfg.Directory, named: cfg.Named}
}

// stopAll stops and removes containers, in the order in which they are; those of
// one service at the same time.
func (s *site) stopAll(ctx context.Context, all []*existing, p *progress) error {
	alike := func(a, b *existing) bool { return a.service == b.service }
	return inRuns(ctx, all, alike, func(ctx context.Context, c *existing) error {
		err := s.stopAndRemove(ctx, c)
		if err == nil {
			p.say(c.component(), "stopped %s", c)
		}
		return err
	})
}

// stopAndRemove stops a container, which has its own time to end what it has
// begun, and removes it.
func (s *site) stopAndRemove(ctx context.Context, c *existing) error {
	if err := s.halt(ctx, c); err != nil {
		return err
	}
	return s.remove(ctx, c)
}

// halt stops a container that may be wanted again.
func (s *site) halt(ctx context.Context, c *existing) error {
	if err := s.ContainerStop(ctx, c.id, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop %s: %w", c, err)
	}
	return nil
}

// haltWhole is halt that isn't cut off. It takes as long as the container may.
func (s *site) haltWhole(ctx context.Context, c *existing) error {
	grace := defaultStopTimeout
	is, err := s.ContainerInspect(ctx, c.id)
	if err == nil && is.Config != nil && is.Config.StopTimeout != nil {
		grace = time.Duration(max(*is.Config.StopTimeout, 0)) * time.Second
	}
	whole, cancel := dockerclient.WholeFor(ctx, grace)
	defer cancel()
	return s.halt(whole, c)
}

// defaultStopTimeout is the engine's.
const defaultStopTimeout = 10 * time.Second

// remove removes a container, whatever it does.
func (s *site) remove(ctx context.Context, c *existing) error {
	err := s.ContainerRemove(ctx, c.id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove %s: %w", c, err)
	}
	s.names.leave(c.name)
	return nil
}
