package data

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/resource"
)

// Server is the container of a resource that runs on this engine.
type Server struct {
	docker *client.Client
	id     string
	// Name is the container's, Volume where its data are, as errors name them.
	Name, Volume string
	typ          *resource.Type
	account      resource.Account
	// place is where the container has its data.
	place string
}

// Find returns the server of a resource of an app, or of the rack if app is "".
// Its account is what its URL says. A container that only has its labels is none.
func Find(ctx context.Context, docker *client.Client, rack, app, name string, t *resource.Type, url string) (*Server, error) {
	own := filters.NewArgs(filters.Arg("label", label.ResourceName+"="+name), filters.Arg("label", label.Resource+"="+t.Name))
	if app != "" {
		own.Add("label", label.UpRack+"="+rack)
		own.Add("label", label.App+"="+app)
	} else {
		own.Add("label", label.Rack+"="+rack)
	}
	list, err := docker.ContainerList(ctx, container.ListOptions{Filters: own})
	if err != nil {
		return nil, fmt.Errorf("list the containers of resource %s: %w", name, err)
	}
	account, err := resource.AccountOf(url)
	if err != nil {
		return nil, err
	}
	// Those that were made before there were marks have none but their name.
	origins := dockerclient.NewOrigins(docker, append(label.Marks(), label.ResourceName)...)
	var found *Server
	for _, c := range list {
		s := &Server{docker: docker, id: c.ID, Name: c.ID[:12], typ: t, account: account}
		if len(c.Names) > 0 {
			s.Name = strings.TrimPrefix(c.Names[0], "/")
		}
		origin, err := origins.Of(ctx, s.Name, c.ImageID, c.Labels)
		if err != nil {
			return nil, err
		}
		if origin != label.Ours || app == "" && c.Labels[label.UpRack] != "" {
			continue
		}
		for _, m := range c.Mounts {
			if m.RW && m.Destination == t.DataDir() {
				s.Volume, s.place = m.Name, m.Destination
			}
		}
		if found != nil {
			return nil, fmt.Errorf("resource %s: is run by two containers, %s and %s: stop one of them", name, found.Name, s.Name)
		}
		found = s
	}
	if found == nil {
		return nil, fmt.Errorf("resource %s: no container of it runs on this Docker Engine: start it, or run this where it runs", name)
	}
	return found, nil
}
