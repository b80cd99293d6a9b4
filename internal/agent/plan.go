package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/registry"
)

// Plan returns what an agent with this configuration would write now, and what
// it would not, each by ID. It writes nothing.
func Plan(ctx context.Context, cfg Config) ([]*registry.Instance, []Refusal, error) {
	a, err := newAgent(cfg)
	if err != nil {
		return nil, nil, err
	}
	defer a.engine.close()
	e, err := a.engine.renew()
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.locate(ctx, e); err != nil {
		return nil, nil, err
	}
	summaries, err := e.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list containers: %w", err)
	}
	var (
		mu        sync.Mutex
		instances []*registry.Instance
		refusals  []Refusal
	)
	in := newInspector(e)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(a.cfg.Workers)
	for _, s := range summaries {
		g.Go(func() error {
			i, r := a.plan(gctx, in, s.ID)
			mu.Lock()
			defer mu.Unlock()
			if i != nil {
				instances = append(instances, i)
			}
			if r != nil {
				refusals = append(refusals, *r)
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(instances, func(a, b *registry.Instance) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(refusals, func(a, b Refusal) int { return strings.Compare(a.ID, b.ID) })
	return instances, refusals, nil
}

// plan decides for one container. One that the engine can't be asked about is
// a refusal: it fails no plan for the others.
func (a *Agent) plan(ctx context.Context, in *inspector, id string) (*registry.Instance, *Refusal) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.InspectTimeout)
	defer cancel()
	f, err := in.inspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, &Refusal{ID: shortID(id), Reason: ReasonInspect, Detail: err.Error()}
	}
	d := decide(f, a.home)
	if d.refusal != nil && d.refusal.Reason == ReasonNotRunning {
		// It ended since it was listed.
		return nil, nil
	}
	return d.instance, d.refusal
}
