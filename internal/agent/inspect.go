package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/registry"
)

// looker is what it takes to look at a container.
type looker interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	NetworkInspect(ctx context.Context, id string, o network.InspectOptions) (network.Inspect, error)
	ServiceInspectWithRaw(ctx context.Context, id string, o swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
	imageAPI
}

// engine is what the agent needs of a Docker Engine.
type engine interface {
	looker
	Info(ctx context.Context) (system.Info, error)
	dockerclient.Versioner
	Events(ctx context.Context, o events.ListOptions) (<-chan events.Message, <-chan error)
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	NetworkList(ctx context.Context, o network.ListOptions) ([]network.Summary, error)
	Close() error
}

// maxJoined bounds the chain of containers that share networks: one that
// shares the network of one that shares a third's.
const maxJoined = 4

// inspector asks the engine for the facts of containers.
type inspector struct {
	engine looker
	images images
	// imageLabels says that all labels of images count, onlyLabelled that
	// containers without a label of ours are of no interest.
	imageLabels, onlyLabelled bool

	mu sync.Mutex
	// scopes caches the scope of networks by their ID; it never changes.
	scopes map[string]string
}

func newInspector(e looker, imageLabels, onlyLabelled bool) *inspector {
	return &inspector{
		engine:      e,
		images:      images{engine: e, known: map[string]*imageConfig{}},
		imageLabels: imageLabels, onlyLabelled: onlyLabelled,
		scopes: map[string]string{},
	}
}

// inspect returns the facts of a container, given by ID or name, and of those
// whose network it shares.
func (in *inspector) inspect(ctx context.Context, ref string) (*facts, error) {
	f, err := in.follow(ctx, ref, maxJoined)
	if err != nil || !f.running() {
		return f, err
	}
	if matters := f.inherits(in.imageLabels) || in.onlyLabelled && f.isLabelled(); !matters {
		return f, nil
	}
	c, err := in.images.get(ctx, f.imageID)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", registry.Quote(ref), err)
	}
	f.disown(c, in.imageLabels)
	return f, nil
}

func (in *inspector) follow(ctx context.Context, ref string, depth int) (*facts, error) {
	begun := time.Now()
	c, err := in.engine.ContainerInspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	inspectSeconds.Observe(time.Since(begun).Seconds())
	f, err := readFacts(c)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", registry.Quote(ref), err)
	}
	if !f.running() {
		return f, nil
	}
	for n := range f.attachments {
		f.attachments[n].scope = in.scope(ctx, f.attachments[n].id)
	}
	if slices.ContainsFunc(f.attachments, func(a attachment) bool { return a.scope != registry.ScopeLocal }) {
		f.gateway = in.gateway(ctx, f)
	}
	if f.isMeshed() {
		f.mesh = in.mesh(ctx, f)
	}
	if f.joins == "" || depth == 0 {
		return f, nil
	}
	f.joined, err = in.follow(ctx, f.joins, depth-1)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return nil, fmt.Errorf("container %s, whose network it shares: %w", registry.Quote(f.joins), err)
	}
	if f.joined != nil {
		// It may have been given by name or by part of its ID.
		f.joins = f.joined.id
	}
	return f, nil
}

// gatewayNetwork is the bridge by which an overlay's containers leave their
// node.
const gatewayNetwork = "docker_gwbridge"

// gateway returns the container's address on that bridge, which no inspect of
// the container tells. It is not valid if it has none, or the engine doesn't
// say.
func (in *inspector) gateway(ctx context.Context, f *facts) netip.Addr {
	n, err := in.engine.NetworkInspect(ctx, gatewayNetwork, network.InspectOptions{})
	if err != nil {
		return netip.Addr{}
	}
	for id, e := range n.Containers {
		// By the container's ID or by its namespace's, as the engine's version
		// has it.
		if id == f.id || f.sandbox != "" && (id == "gateway_"+shortID(f.sandbox) || e.Name == "gateway_"+shortID(f.sandbox)) {
			p, _ := netip.ParsePrefix(e.IPv4Address)
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// scope returns the scope of a network. Where the engine doesn't say, it is
// local, which is safe: nobody on another node is sent there.
func (in *inspector) scope(ctx context.Context, id string) string {
	in.mu.Lock()
	scope, ok := in.scopes[id]
	in.mu.Unlock()
	if ok {
		return scope
	}
	n, err := in.engine.NetworkInspect(ctx, id, network.InspectOptions{})
	if err != nil || n.Scope == "" {
		return registry.ScopeLocal
	}
	const most = 4096
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.scopes) >= most {
		clear(in.scopes)
	}
	in.scopes[id] = n.Scope
	return n.Scope
}
