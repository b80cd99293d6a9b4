package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// imageAPI is what it takes to look at an image.
type imageAPI interface {
	ImageInspect(ctx context.Context, id string, o ...client.ImageInspectOption) (image.InspectResponse, error)
}

// imageConfig is what an image says that its containers inherit, as far as it
// matters here.
type imageConfig struct {
	labels, env map[string]string
	// gone says that the engine has no such image any more.
	gone bool
}

// images asks the engine for images, once each: an image never changes.
type images struct {
	engine imageAPI

	mu    sync.Mutex
	known map[string]*imageConfig
}

// Limits on what is kept of images.
const (
	maxImages      = 1024
	maxImageLabels = 256
)

// get returns what an image says, by its ID. What was known of one that is gone
// by now is still true.
func (is *images) get(ctx context.Context, id string) (*imageConfig, error) {
	is.mu.Lock()
	known := is.known[id]
	is.mu.Unlock()
	if known != nil {
		return known, nil
	}
	r, err := is.engine.ImageInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return &imageConfig{gone: true}, nil
	case err != nil:
		return nil, fmt.Errorf("image %s: %w", registry.Quote(id), err)
	}
	c := &imageConfig{}
	if r.Config != nil {
		c.labels = maps.Clone(r.Config.Labels)
		maps.DeleteFunc(c.labels, func(key, _ string) bool { return !isOurs(key) })
		c.env = registratorEnv(r.Config.Env)
	}
	if len(c.labels)+len(c.env) > maxImageLabels {
		return c, nil
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	if len(is.known) >= maxImages {
		for other := range is.known {
			delete(is.known, other)
			break
		}
	}
	is.known[id] = c
	return c, nil
}

// isOurs reports whether somebody here reads a label, or may.
func isOurs(key string) bool {
	for _, prefix := range []string{"rackdns.", "convox.", "connect.", "com.docker.compose.", "com.docker.stack.", "com.docker.swarm.", "SERVICE_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// isReadHere reports whether a label decides anything for the agent, so that it
// is worth a word that it doesn't count.
func isReadHere(key string) bool {
	switch key {
	case "com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.oneoff",
		"com.docker.stack.namespace", "com.docker.swarm.service.name":
		return true
	}
	if name, ok := strings.CutPrefix(key, label.Prefix); ok {
		first, _, _ := strings.Cut(name, ".")
		return slices.Contains(ownLabels, first)
	}
	return !strings.HasPrefix(key, "com.docker.")
}

// ownLabels are the labels of ours, by what follows "rackdns.", up to a dot.
var ownLabels = []string{
	"rack", "app", "service", "namespace", "aliases", "ignore", "network", "address", "weight", "priority", "answers", "health", "links", "resource", "port", "tags",
}

// fromImages reports whether a label or variable counts by default if it is the
// image's: what the image's own programs are like, their ports and health, and
// tags. All else says whose container it is, or whom it takes requests from,
// which is for those to say who run it.
func fromImages(key string) bool {
	for _, prefix := range []string{portLabel, "rackdns.tags."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	switch key {
	case "rackdns.health", "SERVICE_TAGS":
		return true
	}
	rest, found := strings.CutPrefix(key, "SERVICE_")
	number, what, _ := strings.Cut(rest, "_")
	return found && number != "" && strings.Trim(number, "0123456789") == "" && (what == "NAME" || what == "IGNORE")
}

// makers are those who create containers and always set certain labels
// themselves, also to what the image says. Their mark is a label that is each
// container's own: an image has none, or another one.
var makers = []struct {
	mark string
	sets []string
}{
	// Compose labels the images that it builds like their containers.
	{"com.docker.compose.config-hash", []string{"com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.oneoff"}},
	{"com.docker.swarm.task.id", []string{"com.docker.swarm.service.name"}},
	{label.UpID, []string{label.App, label.Service, label.UpRack, label.Rack, label.Resource, label.ResourceName}},
	{label.UpHash, []string{label.App, label.Service, label.UpRack}},
}

// ofMaker reports whether a label is surely not the image's, though that has the
// same one.
func ofMaker(key string, container, image map[string]string) bool {
	for _, m := range makers {
		mark, marked := container[m.mark]
		if theirs, baked := image[m.mark]; marked && (!baked || theirs != mark) && slices.Contains(m.sets, key) {
			return true
		}
	}
	return false
}

// inherits reports whether a container has anything of which it matters whether
// it is the image's.
func (f *facts) inherits(all bool) bool {
	matters := func(key string) bool {
		if all {
			return strings.HasPrefix(key, label.UpPrefix)
		}
		// SERVICE_<port>_NAME may become the service's name, too.
		return isOurs(key) && (!fromImages(key) || strings.HasPrefix(key, "SERVICE_"))
	}
	for key := range f.labels {
		if matters(key) {
			return true
		}
	}
	for key := range f.env {
		if matters(key) {
			return true
		}
	}
	return false
}

// disown takes out what a container inherits from its image and doesn't count:
// an inspect doesn't tell it from what was said at the container's creation. A
// label or variable with the image's value is the image's.
func (f *facts) disown(c *imageConfig, all bool) {
	if c.gone {
		f.imageGone = !all
		return
	}
	f.fromImage = map[string]bool{}
	f.copied = label.OriginOf(f.labels, c.labels) == label.Copied
	labels := maps.Clone(f.labels)
	for key, value := range c.labels {
		if own, ok := f.labels[key]; !ok || own != value || ofMaker(key, f.labels, c.labels) {
			continue
		}
		// Whoever makes an image of one of our containers has not written those.
		if strings.HasPrefix(key, label.UpPrefix) || (!all || f.copied) && !fromImages(key) {
			delete(labels, key)
			if isReadHere(key) {
				f.disowned = append(f.disowned, "label "+printable(key))
			}
		} else if !all {
			f.fromImage["label "+key] = true
		}
	}
	f.labels = labels
	env := maps.Clone(f.env)
	for key, value := range c.env {
		if own, ok := f.env[key]; !ok || own != value || all {
			continue
		}
		if fromImages(key) {
			f.fromImage["environment variable "+key] = true
			continue
		}
		delete(env, key)
		f.disowned = append(f.disowned, "environment variable "+printable(key))
	}
	f.env = env
	slices.Sort(f.disowned)
}
