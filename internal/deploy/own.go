package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
)

// own selects what has the app's labels. That is not yet the app's: who makes an
// image of a container copies all of its labels, and anybody can write some.
func (s *site) own() filters.Args {
	return filters.NewArgs(
		filters.Arg("label", label.UpRack+"="+s.rack),
		filters.Arg("label", label.App+"="+s.app),
	)
}

// survey finds the app's containers, running or not, and its data. What only has
// its labels is told of, and is not touched.
func (s *site) survey(ctx context.Context, p *progress) error {
	// All of the engine's, since a name is one of all.
	list, err := s.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list the containers of the engine: %w", err)
	}
	// The one that was made first is no copy of another.
	slices.SortStableFunc(list, func(a, b container.Summary) int { return cmp.Compare(a.Created, b.Created) })
	origins, marks := dockerclient.NewOrigins(s.Client), map[string]bool{}
	for _, c := range list {
		e := asExisting(&c)
		if c.Labels[label.UpRack] != s.rack || c.Labels[label.App] != s.app {
			s.names.foreign(e.name, whose(c.Labels))
			continue
		}
		s.names.foreign(e.name, "a container that only has labels of this app")
		origin, err := origins.Of(ctx, e.name, c.ImageID, c.Labels)
		if err != nil {
			return err
		}
		switch {
		case origin == label.Copied:
			p.say("container", "left %s alone: its image was made of a container of app %s (docker commit), whose labels it has", e.name, s.app)
		case origin == label.Foreign:
			p.say("container", "left %s alone: it has labels of app %s, and rackdns has not made it", e.name, s.app)
		case e.service != "" && !e.named(s.app):
			p.say("container", "left %s alone: it has the labels of container %s of app %s, and not its name", e.name, e.given(s.app), s.app)
		case e.mark != "" && marks[e.mark]:
			p.say("container", "left %s alone: it is a copy of another container of app %s, and has its labels", e.name, s.app)
		default:
			marks[e.mark] = true
			s.names.take(e.name)
			s.have = append(s.have, e)
		}
	}
	return s.surveyVolumes(ctx, p)
}

func asExisting(c *container.Summary) *existing {
	e := &existing{
		id:        c.ID,
		image:     c.ImageID,
		name:      shortID(c.ID),
		directory: c.Labels[label.UpDirectory],
		service:   c.Labels[label.Service],
		resource:  c.Labels[label.ResourceName],
		hash:      c.Labels[label.UpHash],
		mark:      c.Labels[label.UpID],
		release:   c.Labels[label.Release],
		running:   c.State == container.StateRunning || c.State == container.StateRestarting,
		// The list has no exit code of its own.
		done: c.State == container.StateExited && strings.HasPrefix(c.Status, "Exited (0) "),
	}
	if len(c.Names) > 0 {
		e.name = strings.TrimPrefix(c.Names[0], "/")
	}
	if links := c.Labels[label.Links]; links != "" {
		e.links = strings.Split(links, ",")
	}
	e.number, _ = strconv.Atoi(c.Labels[label.UpNumber]) // 0 if somebody else wrote it
	return e
}

// whose says whose a container is by its labels.
func whose(labels map[string]string) string {
	if rack, app := labels[label.UpRack], labels[label.App]; rack != "" && app != "" {
		return "a container of app " + app + " in rack " + rack
	}
	return "a container that rackdns up has not made"
}

// given is the name that a container has, or is to have.
func (e *existing) given(app string) string { return containerName(app, e.service, e.number) }

// named reports whether a container has a name that it was given. Whoever makes
// one by what `docker inspect` says gives it all labels of another; but an engine
// has each name once.
func (e *existing) named(app string) bool {
	return e.name == e.given(app) || e.name == interimName(app, e.service, e.release, e.number)
}

// surveyVolumes finds the volumes of the app's resources and services. Nothing copies the
// labels of a volume; its name has to be the one that goes with them.
func (s *site) surveyVolumes(ctx context.Context, p *progress) error {
	list, err := s.VolumeList(ctx, volume.ListOptions{Filters: s.own()})
	if err != nil {
		return fmt.Errorf("list the volumes of app %s: %w", s.app, err)
	}
	for _, v := range list.Volumes {
		if _, ok := v.Labels[label.UpProgram]; ok {
			continue
		}
		if v.Name != s.nameOf(v) {
			p.say("volume", "left %s alone: it has labels of app %s, and rackdns has not made it", v.Name, s.app)
			continue
		}
		s.data = append(s.data, v)
	}
	slices.SortFunc(s.data, func(a, b *volume.Volume) int { return strings.Compare(a.Name, b.Name) })
	return nil
}
