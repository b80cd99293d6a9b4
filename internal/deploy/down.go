package deploy

import (
	"context"
	"maps"
	"slices"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// down is one run of it.
type down struct {
	site
	progress
	cfg     registry.Config
	volumes bool
}

// Down removes the app's containers from the engine, and what is declared of
// it; its data and their credentials too if volumes says so. What isn't there
// is no mistake.
func Down(ctx context.Context, cfg Config, volumes bool) error {
	d := &down{
		site:     site{rack: cfg.Registry.Rack, app: cfg.App},
		progress: progress{w: cfg.Out},
		cfg:      cfg.Registry,
		volumes:  volumes,
	}
	return d.locked(ctx, cfg, d.run)
}

func (d *down) run(ctx context.Context, r *registry.Client) error {
	have, err := d.containers(ctx)
	if err != nil {
		return err
	}
	d.widen("network")
	for _, c := range have {
		d.widen(c.component())
	}
	if err := d.stopAll(ctx, inStopOrder(have), &d.progress); err != nil {
		return err
	}
	if err := d.dropPrograms(ctx, ""); err != nil {
		return err
	}
	if d.volumes {
		if err := d.removeVolumes(ctx); err != nil {
			return err
		}
	}
	if err := d.undeclare(ctx, r, have); err != nil {
		return err
	}
	dropped, err := d.dropNetwork(ctx)
	if dropped {
		d.say("network", "removed %s", networkName(d.rack))
	}
	return err
}

// undeclare removes what is declared of the app, unless it goes on elsewhere.
func (d *down) undeclare(ctx context.Context, r *registry.Client, had []*existing) error {
	x, err := follow(ctx, d.cfg)
	if err != nil {
		return err
	}
	defer x.Close()
	gone := func(i *index.Instance) bool {
		return slices.ContainsFunc(had, func(c *existing) bool { return shortID(c.id) == i.ID() })
	}
	if node := elsewhere(x.Snapshot(), d.app, "", gone); node != "" {
		d.say(d.app, "has other instances, of node %s: what is declared of it stays", node)
		return nil
	}
	return r.Edit(ctx, d.app, func(is *registry.Declared) error {
		clear(is.Services)
		maps.DeleteFunc(is.Resources, func(_ string, r *registry.Resource) bool { return r.Manager == registry.ManagerUp })
		if d.volumes {
			// What is left was declared by hand, and is removed by hand.
			maps.DeleteFunc(is.Secrets, func(name, _ string) bool { return is.Resources[name] == nil })
		}
		return nil
	})
}

func (d *down) removeVolumes(ctx context.Context) error {
	names, err := d.dropVolumes(ctx)
	for _, n := range names {
		d.say("volume", "removed %s", n)
	}
	return err
}
