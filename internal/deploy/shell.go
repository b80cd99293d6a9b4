package deploy

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/manifest"
)

// checkShells makes sure that what only a shell can run has one.
func (u *up) checkShells(ctx context.Context) error {
	for _, c := range u.components {
		if !changes(c.steps) || c.resource || !needsShell(c.spec.Entrypoint) && !needsShell(c.spec.Command) {
			continue
		}
		has, err := u.hasShell(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		if !has {
			return &InputError{fmt.Errorf("%s: its command is more than words, and image %s has no %s to run it: give the words as a list, without variables, pipes and patterns", c, c.image, manifest.Shell)}
		}
	}
	return nil
}

func needsShell(words []string) bool { return len(words) > 0 && words[0] == manifest.Shell }

// hasShell looks into a container of the image that is never started: nothing
// else gives access to an image's files.
func (u *up) hasShell(ctx context.Context, c *component) (has bool, err error) {
	labels := map[string]string{label.UpRack: u.rack, label.App: u.app, label.UpID: rand.Text()}
	name := containerName(u.app, c.service+"-shell", 1)
	whole, cancel := dockerclient.Whole(ctx) // as in create
	defer cancel()
	made, err := u.ContainerCreate(whole, &container.Config{Image: c.spec.Image, Cmd: []string{manifest.Shell}, Labels: maps.Clone(labels)},
		&container.HostConfig{}, nil, nil, name)
	if err != nil {
		return false, fmt.Errorf("make container %s: %w", name, err)
	}
	defer func() {
		if e := u.remove(whole, &existing{id: made.ID, name: name}); err == nil {
			err = e
		}
	}()
	_, err = u.ContainerStatPath(ctx, made.ID, manifest.Shell)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, wrap(err, "look for "+manifest.Shell)
}
