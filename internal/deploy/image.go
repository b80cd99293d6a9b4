package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// tagLength is the length of an image's ID in its name. It is not that of the
// IDs that the docker command shows, which takes such a name for one.
const tagLength = 10

// resolveImage finds, pulls or builds the image of a component: its ID is what
// counts, since a name may mean another image tomorrow.
func (u *up) resolveImage(ctx context.Context, c *component) error {
	if u.cfg.back != nil {
		return u.recalledImage(ctx, c)
	}
	if u.cfg.DryRun {
		return u.supposedImage(ctx, c)
	}
	if c.build != nil {
		return u.buildImage(ctx, c)
	}
	id, err := u.imageID(ctx, c.image)
	if errdefs.IsNotFound(err) || err == nil && u.cfg.Pull && !isID(c.image) {
		id, err = u.pullImage(ctx, c, id)
	}
	if err != nil {
		return fmt.Errorf("%s: image %s: %w", c, c.image, err)
	}
	c.spec.Image = id
	return nil
}

// pullImage pulls the image of a component, and returns its ID, which may be the
// one that was here already.
func (u *up) pullImage(ctx context.Context, c *component, here string) (id string, err error) {
	u.say(c.name, "pulling %s", c.image)
	err = dockerclient.Pull(ctx, u.Client, c.image, func(what string) { u.say(c.name, "%s", what) })
	if err == nil {
		return u.imageID(ctx, c.image)
	}
	if here != "" {
		return "", fmt.Errorf("--pull: %w", err)
	}
	return "", fmt.Errorf("is not on this engine and can't be pulled: %w", err)
}

func (s *site) imageID(ctx context.Context, name string) (string, error) {
	found, err := s.ImageInspect(ctx, name)
	return found.ID, err
}

// isID reports whether an image is given by its ID, which no registry knows.
func isID(image string) bool { return strings.HasPrefix(image, "sha256:") }

// buildImage builds an image and names it by its ID, so that a name never
// changes its meaning.
func (u *up) buildImage(ctx context.Context, c *component) error {
	u.say(c.name, "building %s", c.build.Path)
	log := &buildLog{all: u.cfg.Verbose, show: func(line string) { u.say(c.name, "| %s", line) }}
	id, err := u.builtImage(ctx, c, log)
	var failed *buildError
	if errors.As(err, &failed) && !u.cfg.Verbose {
		for _, l := range lastLines(failed.said, buildLines) {
			u.say(c.name, "| %s", l)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: build %s: %w", c, c.build.Path, err)
	}
	c.image, c.spec.Image = builtName(imageRepository(u.rack, u.app, c.service), id), id
	return nil
}

// builtImage builds with BuildKit where docker buildx is there, else with the
// classic builder.
func (u *up) builtImage(ctx context.Context, c *component, log *buildLog) (id string, err error) {
	repository := imageRepository(u.rack, u.app, c.service)
	plugin, err := findBuildx()
	var broken *brokenPlugin
	if errors.As(err, &broken) {
		u.say(c.name, "docker buildx can't be used, so the classic builder builds: %v", err)
		err = nil
	}
	switch {
	case err != nil:
		return "", err
	case plugin != "":
		return u.buildx(ctx, plugin, u.cfg.Dir, repository, c.build, u.cfg.Pull, log)
	}
	return u.classic(ctx, u.cfg.Dir, repository, c.build, u.cfg.Pull, log)
}

// builtName is the name of an image that was built: it never changes its meaning.
func builtName(repository, id string) string {
	_, digest, _ := strings.Cut(id, ":")
	return repository + ":" + digest[:min(len(digest), tagLength)]
}

// keptImages is how many images of a service are kept beside the present one.
const keptImages = 3

// dropImages removes the images that were built for the app and that neither run
// nor are needed to go back to one of the last releases.
func (u *up) dropImages(ctx context.Context, releases []*registry.Release) error {
	kept := imagesOf(releases)
	return u.eachBuilt(ctx, func(service, tag, id string) error {
		if slices.Contains(kept[service], id) {
			return nil
		}
		_, err := u.removeImage(ctx, tag)
		return err
	})
}

// imagesOf returns the images to keep, by the service that they are of. The
// releases are in order, the present one first.
func imagesOf(releases []*registry.Release) map[string][]string {
	kept := map[string][]string{}
	for _, r := range releases {
		for service, c := range r.Components {
			if all := kept[service]; len(all) <= keptImages && !slices.Contains(all, c.Image) {
				kept[service] = append(all, c.Image)
			}
		}
	}
	return kept
}

// eachBuilt calls f for each name of each image that was built for the app.
func (s *site) eachBuilt(ctx context.Context, f func(service, tag, id string) error) error {
	list, err := s.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", label.UpImage), filters.Arg("reference", imageRepository(s.rack, s.app, "*")),
	)})
	if err != nil {
		return fmt.Errorf("list the images of app %s: %w", s.app, err)
	}
	for _, i := range list {
		for _, tag := range i.RepoTags {
			repository, _, _ := strings.Cut(tag, ":")
			service, ours := strings.CutPrefix(repository, imageRepository(s.rack, s.app, ""))
			if !ours || i.Labels[label.UpImage] != repository {
				continue
			}
			if err := f(service, tag, i.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeImage removes an image by its name, unless somebody needs it.
func (s *site) removeImage(ctx context.Context, tag string) (removed bool, err error) {
	_, err = s.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return false, nil
	}
	return err == nil, wrap(err, "remove image "+tag)
}
