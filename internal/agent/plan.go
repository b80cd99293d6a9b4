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

// Remark is something that doesn't count, such as a label, of a container that
// is registered or not.
type Remark struct {
	ID        string `json:"id"`
	Container string `json:"container"`
	What      string `json:"what"`
}

// Folded is a service whose name several names became that somebody gave.
type Folded struct {
	App     string `json:"app"`
	Service string `json:"service"`
	// Given are the names, such as "my_web of app shop", in order.
	Given []string `json:"given"`
}

// Draft is what an agent would write and what not, each by ID.
type Draft struct {
	Instances []*registry.Instance `json:"instances"`
	LeftOut   []Refusal            `json:"left_out"`
	Remarks   []Remark             `json:"remarks"`
	Folded    []Folded             `json:"folded"`
}

// Plan returns what an agent with this configuration would write now. It writes
// nothing.
func Plan(ctx context.Context, cfg Config) (*Draft, error) {
	a, err := newAgent(cfg)
	if err != nil {
		return nil, err
	}
	defer a.engine.close()
	e, err := a.engine.renew()
	if err != nil {
		return nil, err
	}
	if err := checkEngine(ctx, e); err != nil {
		return nil, err
	}
	if err := a.settleDown(ctx, e, ""); err != nil {
		return nil, err
	}
	summaries, err := e.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var (
		mu sync.Mutex
		// Empty lists, rather than none.
		all   = &Draft{[]*registry.Instance{}, []Refusal{}, []Remark{}, []Folded{}}
		names = newFolded()
	)
	in := newInspector(e, cfg.ImageLabels, cfg.OnlyLabelled)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(a.cfg.Workers)
	for _, s := range summaries {
		g.Go(func() error {
			one, given := a.plan(gctx, in, s.ID)
			mu.Lock()
			defer mu.Unlock()
			for _, i := range one.Instances {
				names.note(i.ID, i.Service+"."+i.App, given)
			}
			all.Instances = append(all.Instances, one.Instances...)
			all.LeftOut = append(all.LeftOut, one.LeftOut...)
			all.Remarks = append(all.Remarks, one.Remarks...)
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all.Folded = names.folds()
	slices.SortFunc(all.Instances, func(a, b *registry.Instance) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(all.LeftOut, func(a, b Refusal) int { return strings.Compare(a.ID, b.ID) })
	slices.SortStableFunc(all.Remarks, func(a, b Remark) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// plan decides for one container, and returns of what its service's name was made.
// One that the engine can't be asked about is a refusal: it fails no plan for the
// others.
func (a *Agent) plan(ctx context.Context, in *inspector, id string) (one Draft, given string) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.InspectTimeout)
	defer cancel()
	f, err := in.inspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return one, given
	case err != nil:
		one.LeftOut = []Refusal{{ID: shortID(id), Reason: ReasonInspect, Detail: err.Error()}}
		return one, given
	}
	d := a.judge(f)
	given = d.given
	switch {
	case d.refusal == nil:
		one.Instances = []*registry.Instance{d.instance}
	case d.refusal.Reason == ReasonNotRunning:
		// It ended since it was listed.
		return one, given
	default:
		one.LeftOut = []Refusal{*d.refusal}
	}
	for _, r := range d.remarks() {
		one.Remarks = append(one.Remarks, Remark{shortID(id), clean(f.name, maxText), r})
	}
	return one, given
}
