package agent

import (
	"context"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

// redialer is an engine whose client is made anew for every stream of events:
// a client settles on an API version once, and the engine may come back as a
// newer one that doesn't speak it any more.
type redialer struct {
	dial func() (engine, error)

	mu      sync.Mutex
	current engine
}

// renew returns a new client, which others get from then on too.
func (r *redialer) renew() (engine, error) {
	e, err := r.dial()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil && r.current != e {
		// Calls under way keep their connections; idle ones are closed.
		_ = r.current.Close()
	}
	r.current = e
	return e, nil
}

func (r *redialer) get() (engine, error) {
	r.mu.Lock()
	e := r.current
	r.mu.Unlock()
	if e != nil {
		return e, nil
	}
	return r.renew()
}

func (r *redialer) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		_ = r.current.Close()
	}
}

// ContainerInspect asks the present client.
func (r *redialer) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	e, err := r.get()
	if err != nil {
		return container.InspectResponse{}, err
	}
	return e.ContainerInspect(ctx, id)
}

// NetworkInspect asks the present client.
func (r *redialer) NetworkInspect(ctx context.Context, id string, o network.InspectOptions) (network.Inspect, error) {
	e, err := r.get()
	if err != nil {
		return network.Inspect{}, err
	}
	return e.NetworkInspect(ctx, id, o)
}

// ServiceInspectWithRaw asks the present client.
func (r *redialer) ServiceInspectWithRaw(ctx context.Context, id string, o swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	e, err := r.get()
	if err != nil {
		return swarm.Service{}, nil, err
	}
	return e.ServiceInspectWithRaw(ctx, id, o)
}

// ImageInspect asks the present client.
func (r *redialer) ImageInspect(ctx context.Context, id string, o ...client.ImageInspectOption) (image.InspectResponse, error) {
	e, err := r.get()
	if err != nil {
		return image.InspectResponse{}, err
	}
	return e.ImageInspect(ctx, id, o...)
}
