package deploy

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// site is where an app is: an engine, and there what has the app's labels.
type site struct {
	*client.Client
	rack, app string
}

// own selects what is the app's.
func (s *site) own() filters.Args {
	return filters.NewArgs(
		filters.Arg("label", labelRack+"="+s.rack),
		filters.Arg("label", labelApp+"="+s.app),
	)
}

// containers returns the app's containers, running or not.
func (s *site) containers(ctx context.Context) ([]*existing, error) {
	list, err := s.ContainerList(ctx, container.ListOptions{All: true, Filters: s.own()})
	if err != nil {
		return nil, fmt.Errorf("list the containers of app %s: %w", s.app, err)
	}
	all := make([]*existing, 0, len(list))
	for _, c := range list {
		e := &existing{
			id:       c.ID,
			name:     shortID(c.ID),
			service:  c.Labels[labelService],
			resource: c.Labels[labelResourceName],
			hash:     c.Labels[labelHash],
			release:  c.Labels[labelRelease],
			running:  c.State == container.StateRunning || c.State == container.StateRestarting,
		}
		if len(c.Names) > 0 {
			e.name = strings.TrimPrefix(c.Names[0], "/")
		}
		if links := c.Labels[labelLinks]; links != "" {
			e.links = strings.Split(links, ",")
		}
		e.number, _ = strconv.Atoi(c.Labels[labelNumber]) // 0 if somebody else wrote it
		all = append(all, e)
	}
	return all, nil
}

// stopAll stops and removes containers, in the order in which they are; those of
// one service at the same time.
func (s *site) stopAll(ctx context.Context, all []*existing, p *progress) error {
	alike := func(a, b *existing) bool { return a.service == b.service }
	return inRuns(ctx, all, alike, func(ctx context.Context, c *existing) error {
		err := s.stopAndRemove(ctx, c)
		if err == nil {
			p.say(c.component(), "stopped %s", c.name)
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
		return fmt.Errorf("stop container %s: %w", c.name, err)
	}
	return nil
}

// remove removes a container, whatever it does.
func (s *site) remove(ctx context.Context, c *existing) error {
	err := s.ContainerRemove(ctx, c.id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", c.name, err)
	}
	return nil
}
