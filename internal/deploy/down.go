package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/near"
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
// it; its data and their credentials too if it is to. That nothing of it is there is
// a mistake unless its manifest is.
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
	if known, err := d.known(ctx, r); err != nil || !known {
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
	return d.dropNetwork(ctx, &d.progress)
}

// known reports whether there is anything of the app. Without a manifest it is an
// error if there isn't, which names those that there are.
func (d *down) known(ctx context.Context, r *registry.Client) (bool, error) {
	if len(d.have)+len(d.data) > 0 || d.remembered != "" {
		return true, nil
	}
	declared, err := r.Declared(ctx, d.app, true)
	if err != nil || len(declared.Services)+len(declared.Resources)+len(declared.Secrets) > 0 {
		return err == nil, err
	}
	left, err := d.VolumeList(ctx, volume.ListOptions{Filters: d.own()})
	if err != nil || len(left.Volumes) > 0 {
		return err == nil, wrap(err, "list the volumes of app "+d.app)
	}
	built := false
	err = d.eachBuilt(ctx, func(_, _, _ string) error { built = true; return nil })
	if err != nil || built {
		return err == nil, err
	}
	if d.cfg.Written && !d.named {
		d.say(d.app, "there is nothing of it to remove")
		return false, nil
	}
	apps, err := d.apps(ctx)
	if err != nil {
		return false, err
	}
	if len(apps) == 0 {
		if err := r.CheckRack(ctx); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("app %s: rackdns up has made none of that name on this engine in rack %s%s", d.app, d.rack, near.Instead(d.app, apps))
}

// apps are those of which anything is on the engine, in order.
func (s *site) apps(ctx context.Context) ([]string, error) {
	ours := filters.NewArgs(filters.Arg("label", label.UpRack+"="+s.rack))
	containers, err := s.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list the containers of rack %s: %w", s.rack, err)
	}
	volumes, err := s.VolumeList(ctx, volume.ListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list the volumes of rack %s: %w", s.rack, err)
	}
	names := map[string]bool{}
	for _, c := range containers {
		names[c.Labels[label.App]] = true
	}
	for _, v := range volumes.Volumes {
		names[v.Labels[label.App]] = true
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names)), nil
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
		d.say(d.app, "has other instances, of %s: what is declared of it stays", node)
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
