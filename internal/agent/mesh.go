package agent

import (
	"context"
	"errors"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/swarm"
)

// serviceLabel is where swarm says whose task a container is.
const serviceLabel = "com.docker.swarm.service.id"

// mesh is what a container's service publishes by swarm's routing mesh: at a port
// of each node of the swarm, which leads to any of the service's containers. No
// inspect of the container has it.
type mesh struct {
	ports map[portKey]uint16
	// unknown is why nothing is known of it.
	unknown error
}

var (
	errWorker    = errors.New("its engine is a worker of the swarm, and only a manager tells of services")
	errNoService = errors.New("it doesn't say of which service it is")
)

// isMeshed reports whether the container is on the network of the mesh.
func (f *facts) isMeshed() bool { return slices.ContainsFunc(f.attachments, attachment.isMesh) }

// mesh asks the engine what the service of a container on the mesh publishes.
func (in *inspector) mesh(ctx context.Context, f *facts) mesh {
	id := f.labels[serviceLabel]
	if id == "" {
		return mesh{unknown: errNoService}
	}
	s, _, err := in.engine.ServiceInspectWithRaw(ctx, id, swarm.ServiceInspectOptions{})
	switch {
	case cerrdefs.IsUnavailable(err):
		return mesh{unknown: errWorker}
	case err != nil:
		return mesh{unknown: err}
	}
	m := mesh{ports: map[portKey]uint16{}}
	for _, p := range s.Endpoint.Ports {
		if p.PublishMode == swarm.PortConfigPublishModeHost || p.TargetPort == 0 || p.TargetPort > 65535 || p.PublishedPort == 0 || p.PublishedPort > 65535 {
			continue
		}
		m.ports[portKey{uint16(p.TargetPort), string(p.Protocol)}] = uint16(p.PublishedPort)
	}
	return m
}
