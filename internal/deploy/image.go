package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// tagLength is the length of an image's ID in its name. It is not that of the
// IDs that the docker command shows, which takes such a name for one.
const tagLength = 10

// resolveImage finds, pulls or builds the image of a component: its ID is what
// counts, since a name may mean another image tomorrow.
func (u *up) resolveImage(ctx context.Context, c *component) error {
	if c.build != nil {
		return u.buildImage(ctx, c)
	}
	id, err := u.imageID(ctx, c.image)
	if errdefs.IsNotFound(err) {
		u.say(c.name, "pulling %s", c.image)
		if err = dockerclient.Pull(ctx, u.Client, c.image); err == nil {
			id, err = u.imageID(ctx, c.image)
		} else {
			err = fmt.Errorf("is not on this engine and can't be pulled: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: image %s: %w", c, c.image, err)
	}
	c.spec.Image = id
	return nil
}

func (u *up) imageID(ctx context.Context, name string) (string, error) {
	found, err := u.ImageInspect(ctx, name)
	return found.ID, err
}

// buildImage builds an image and names it by its ID, so that a name never
// changes its meaning.
func (u *up) buildImage(ctx context.Context, c *component) error {
	var w io.Writer
	if u.cfg.Verbose {
		w = u.w
	}
	u.say(c.name, "building %s", c.build.Path)
	id, err := u.build(ctx, u.cfg.Dir, c.build, w)
	var failed *buildError
	if errors.As(err, &failed) && w == nil {
		for _, l := range lastLines(failed.said, buildLines) {
			u.say(c.name, "| %s", l)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: build %s: %w", c, c.build.Path, err)
	}
	_, digest, _ := strings.Cut(id, ":")
	c.image = imageRepository(u.rack, u.app, c.service) + ":" + digest[:min(len(digest), tagLength)]
	c.spec.Image = id
	if err := u.ImageTag(ctx, id, c.image); err != nil {
		return fmt.Errorf("%s: name image %s: %w", c, c.image, err)
	}
	return nil
}

// dropImages removes the images that were built for a component before and that
// nothing uses any more.
func (u *up) dropImages(ctx context.Context, c *component) error {
	if c.build == nil {
		return nil
	}
	repository := imageRepository(u.rack, u.app, c.service)
	all, err := u.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	if err != nil {
		return fmt.Errorf("%s: list its images: %w", c, err)
	}
	for _, i := range all {
		for _, tag := range i.RepoTags {
			if tag == c.image || !strings.HasPrefix(tag, repository+":") {
				continue
			}
			_, err := u.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
			if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
				return fmt.Errorf("%s: remove image %s: %w", c, tag, err)
			}
		}
	}
	return nil
}
