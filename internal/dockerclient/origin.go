package dockerclient

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/label"
)

// Origins tells which containers rackdns has made. A label proves nothing by
// itself: an image that was made of a container (docker commit) has all of its
// labels, and gives them to whatever is run of it.
type Origins struct {
	c *client.Client
	// marks are the labels that tell.
	marks []string
	// images are the labels of images by their IDs.
	images map[string]map[string]string
}

// NewOrigins returns the origins of an engine's containers by their marks, see
// [label.OriginOf].
func NewOrigins(c *client.Client, marks ...string) *Origins {
	return &Origins{c, marks, map[string]map[string]string{}}
}

// Of returns the origin of a container with these labels. It is an error if that
// can't be told: nobody should touch such a container.
func (o *Origins) Of(ctx context.Context, name, imageID string, labels map[string]string) (label.Origin, error) {
	if label.OriginOf(labels, nil, o.marks...) == label.Foreign {
		return label.Foreign, nil
	}
	inherited, ok := o.images[imageID]
	if !ok {
		image, err := o.c.ImageInspect(ctx, imageID)
		if errdefs.IsNotFound(err) {
			return label.Foreign, fmt.Errorf("container %s: its image is gone, so nothing tells it from a copy of one that rackdns has made: nothing was changed; remove it by hand if it is not needed (docker rm -f %[1]s)", name)
		}
		if err != nil {
			return label.Foreign, fmt.Errorf("container %s: its image: %w", name, err)
		}
		if image.Config != nil {
			inherited = image.Config.Labels
		}
		o.images[imageID] = inherited
	}
	return label.OriginOf(labels, inherited, o.marks...), nil
}
