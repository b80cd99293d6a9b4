package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// DownConfig says what to take down.
type DownConfig struct {
	Config
	// Volumes removes the data too, once Confirm has nothing against it: it is
	// told which volumes, and asked before anything is touched.
	Volumes bool
	Confirm func(volumes []string) error
	// Images removes the images that were built for the app, too.
	Images bool
}

// down is one run of it.
type down struct {
	site
	progress
	cfg DownConfig
}

// Down removes the app's containers from the engine, and what is declared of
// it; its data and their credentials too if it is to. What isn't there is no
// mistake.
func Down(ctx context.Context, cfg DownConfig) error {
	d := &down{site: newSite(cfg.Config), progress: progress{w: cfg.Out}, cfg: cfg}
	d.widen("network")
	return d.locked(ctx, cfg.Config, d.run)
}

func (d *down) run(ctx context.Context, r *registry.Client) error {
	if err := d.survey(ctx, &d.progress); err != nil {
		return err
	}
	if err := d.recall(ctx, r); err != nil {
		return err
	}
	if d.cfg.Volumes {
		if err := d.confirm(); err != nil {
			return err
		}
	}
	for _, c := range d.have {
		d.widen(c.component())
	}
	if err := d.stopAll(ctx, inStopOrder(d.have), &d.progress); err != nil {
		return err
	}
	if err := d.dropPrograms(ctx, ""); err != nil {
		return err
	}
	if d.cfg.Volumes {
		if err := d.removeVolumes(ctx); err != nil {
			return err
		}
	}
	if d.cfg.Images {
		if err := d.removeImages(ctx); err != nil {
			return err
		}
	}
	if d.cfg.Images || d.cfg.Volumes {
		// What they would bring back is gone.
		if err := r.ForgetReleases(ctx, d.app, d.engineID); err != nil {
			return err
		}
	}
	if err := d.undeclare(ctx, r, d.have); err != nil {
		return err
	}
	if d.cfg.Volumes || len(d.data) == 0 {
		// Nothing is left of it that another one could take for its own.
		if err := r.SetDirectory(ctx, d.app, d.engineID, ""); err != nil {
			return err
		}
	}
	dropped, err := d.dropNetwork(ctx)
	if dropped {
		d.say("network", "removed %s", networkName(d.rack))
	}
	return err
}

// confirm makes sure that the data are to be removed, and of which directory
// they are.
func (d *down) confirm() error {
	var names []string
	for _, v := range d.data {
		if from := d.other(v.Labels[label.UpDirectory]); from != "" && !d.named {
			return fmt.Errorf("volume %s: was made from %s, and this is %s: nothing was changed; give the app by its name, --app %s, to remove it all the same", v.Name, from, d.directory, d.app)
		}
		names = append(names, v.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return d.cfg.Confirm(names)
}

// undeclare removes what is declared of the app, unless it goes on elsewhere.
func (d *down) undeclare(ctx context.Context, r *registry.Client, had []*existing) error {
	x, err := follow(ctx, d.cfg.Registry)
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
		if d.cfg.Volumes {
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

// removeImages removes the images that were built for the app.
func (d *down) removeImages(ctx context.Context) error {
	return d.eachBuilt(ctx, func(_, tag, _ string) error {
		removed, err := d.removeImage(ctx, tag)
		switch {
		case err != nil:
			return err
		case removed:
			d.say("image", "removed %s", tag)
		default:
			d.say("image", "left %s, which a container uses", tag)
		}
		return nil
	})
}
