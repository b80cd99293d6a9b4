package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/program"
	"github.com/rackdns/rackdns/internal/registry"
)

// DefaultTimeout is how long a container has until it serves.
const DefaultTimeout = 2 * time.Minute

// DefaultTrial is how long a container without a health check must have run to be
// trusted: what ends sooner would end again and again.
const DefaultTrial = 10 * time.Second

// Config says which app, and where.
type Config struct {
	Registry registry.Config
	// Docker is the engine's address, empty for that of the environment.
	Docker string
	App    string
	// Directory is the manifest's, see [DirectoryOf]. Named says that the app was
	// given by its name, so that it may be another one than before.
	Directory string
	Named     bool
	// Written says that there is such a manifest.
	Written bool
	// Out gets a line for each thing that was done.
	Out io.Writer
}

// UpConfig says what to bring up, besides.
type UpConfig struct {
	Config
	Manifest *manifest.Manifest
	// Dir is the manifest's directory, to which its paths are relative.
	Dir string
	// Suffix is the domain of the rack, whose zone is <rack>.<suffix>.
	Suffix string
	// Given is the app's environment, Ask that of whoever brings it up: it is
	// asked for what the manifest lists and nothing else gives.
	Given map[string]string
	Ask   func(name string) (string, bool)
	// DNS are the servers that containers ask. Without any they are searched
	// for, or left as the engine would have them if EngineDNS says so.
	DNS       []netip.Addr
	EngineDNS bool
	// Timeout is how long each container has until it serves.
	Timeout time.Duration
	// Trial is how long one without a health check must have run to be trusted.
	Trial time.Duration
	// Program is this program's own file, which health checks run.
	Program string
	// Verbose writes all of the output of builds.
	Verbose bool
	// DryRun only says what would be done.
	DryRun bool
	// Pull looks for newer images than those that are here.
	Pull bool
	// back is the release to go back to, nil if it is none.
	back *registry.Release
	// promoted says that back is the present one, which gets the environment that
	// the rack has now.
	promoted bool
}

// InputError is a mistake in the manifest or in the app's environment: nothing
// was done.
type InputError struct{ error }

// Unwrap returns what is wrong.
func (e *InputError) Unwrap() error { return e.error }

// ErrInterrupted is returned when the work was cut off. Nothing is left half.
var ErrInterrupted = errors.New("interrupted; the same again completes it")

// up is one run of it.
type up struct {
	cfg UpConfig
	site
	progress
	registry *registry.Client
	index    *index.Index
	// node is the one whose agent registers the engine's containers.
	node string
	// program is the volume with this program, empty if nothing has a health
	// check.
	program string
	env     *env.Input
	// urls are those of the app's own resources, declared is what the registry
	// is to be told.
	urls     map[string]string
	declared registry.Declared
	// byHand are the resources of the manifest that were declared by hand.
	byHand  map[string]bool
	release string
	// shared are the variables that the rack has for the app.
	shared []string
	// asked are the variables that whoever brings it up was asked for.
	asked map[string]string
	// components are in the order in which they are worked on.
	components []*component
	// gone are containers of what the manifest doesn't have any more.
	gone []*existing
	// live are the containers that stay, or were made. Who changes that, or their
	// names, holds naming.
	live   map[*component][]*existing
	naming sync.Mutex
	// trials are of what serves and isn't trusted yet. They end with ending.
	trials errgroup.Group
	ending context.Context //nolint:containedctx // it is the run's, which is all that up is
}

// Up makes the engine run what the manifest says.
func Up(ctx context.Context, cfg UpConfig) error {
	u := newUp(cfg)
	if cfg.DryRun {
		return u.connected(ctx, cfg.Config, u.rehearse)
	}
	return u.locked(ctx, cfg.Config, u.run)
}

func newUp(cfg UpConfig) *up {
	u := &up{
		cfg:      cfg,
		site:     newSite(cfg.Config),
		progress: progress{w: cfg.Out},
		urls:     map[string]string{},
		declared: registry.Declared{App: cfg.App, Services: map[string]*registry.Service{}, Resources: map[string]*registry.Resource{}},
		release:  registry.NewRelease(),
		asked:    map[string]string{},
	}
	u.widen("network")
	for _, s := range cfg.Manifest.Services {
		u.widen(s.Name)
	}
	for _, r := range cfg.Manifest.Resources {
		u.widen(r.Name)
	}
	for _, t := range cfg.Manifest.Timers {
		u.widen(t.Name)
	}
	return u
}

// locked does work on an app while nobody else in the rack does.
func (s *site) locked(ctx context.Context, cfg Config, work func(context.Context, *registry.Client) error) error {
	return s.connected(ctx, cfg, func(ctx context.Context, r *registry.Client) error {
		held, lock, err := r.Lock(ctx, "up/"+s.app, func() {
			_, _ = fmt.Fprintf(cfg.Out, "waiting for another up or down of app %s\n", s.app)
		})
		if err != nil {
			return err
		}
		defer lock.Release()
		err = work(held, r)
		if err != nil && held.Err() != nil {
			// What failed has failed because of this.
			err = context.Cause(held)
		}
		return err
	})
}

// connected does work with an engine and a registry.
func (s *site) connected(ctx context.Context, cfg Config, work func(context.Context, *registry.Client) error) (err error) {
	if s.Client, err = dockerclient.Dial(cfg.Docker); err != nil {
		return err
	}
	defer s.Close()
	r, err := registry.Open(cfg.Registry)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := s.Ping(ctx); err != nil {
		return wrap(interrupted(ctx, err), "reach the Docker Engine")
	}
	if err := dockerclient.CheckEngine(ctx, s.Client); err != nil {
		return interrupted(ctx, err)
	}
	return interrupted(ctx, work(ctx, r))
}

func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// run works everything out, and then does it.
func (u *up) run(ctx context.Context, r *registry.Client) (err error) {
	u.registry = r
	if u.index, err = follow(ctx, u.cfg.Registry); err != nil {
		return err
	}
	defer u.index.Close()
	if err := u.prepare(ctx); err != nil {
		return err
	}
	return u.perform(ctx)
}

// prepare works out what is to be done. It touches nothing but images.
func (u *up) prepare(ctx context.Context) error {
	if err := u.survey(ctx, &u.progress); err != nil {
		return err
	}
	if err := u.recall(ctx, u.registry); err != nil {
		return err
	}
	node, err := registeredBy(u.index.Snapshot(), u.rack, u.engineID)
	if err != nil {
		return cmp.Or(u.registry.CheckRack(ctx), err)
	}
	u.node = node.Node
	if err := u.want(ctx); err != nil {
		return err
	}
	servers, err := u.chooseDNS(ctx, node)
	if err != nil {
		return err
	}
	for _, c := range u.components {
		for _, ip := range servers {
			c.spec.DNS = append(c.spec.DNS, ip.String())
		}
		if len(servers) > 0 {
			c.spec.Search = slices.Clone(noSearch)
		}
	}
	if err := u.resolveImages(ctx); err != nil {
		return err
	}
	for _, c := range u.components {
		if err := c.complete(); err != nil {
			return err
		}
	}
	return u.compare(ctx)
}

// want works out what is wanted, images aside.
func (u *up) want(ctx context.Context) error {
	declared, err := u.registry.Declared(ctx, u.app, true)
	if err != nil {
		return err
	}
	if err := u.takeShared(ctx); err != nil {
		return err
	}
	u.env = u.input()
	u.takeByHand(declared)
	resources, err := u.resources(ctx, declared.Secrets)
	if err != nil {
		return &InputError{err}
	}
	ofRack, err := u.linkRack(ctx)
	if err != nil {
		return err
	}
	u.env.Fill(u.urls, ofRack)
	services, err := u.services(resources)
	if err != nil {
		return &InputError{err}
	}
	u.components = slices.Concat(resources, services)
	timers, err := u.timers(services)
	if err != nil {
		return &InputError{err}
	}
	u.components = append(u.components, timers...)
	return u.chooseProgram()
}

// chooseProgram tells the components with a health check where the program is
// that runs it.
func (u *up) chooseProgram() error {
	for _, c := range u.components {
		if c.spec.Health == nil {
			continue
		}
		if u.program == "" {
			version, err := program.Version(u.cfg.Program)
			if err != nil {
				return fmt.Errorf("%s: health check: %w", c, err)
			}
			u.program = u.programVolume(version)
		}
		c.spec.Health.Program = u.program
	}
	return nil
}

// chooseDNS returns the servers that containers are to ask.
func (u *up) chooseDNS(ctx context.Context, node *registry.Node) ([]netip.Addr, error) {
	if u.cfg.EngineDNS {
		return nil, nil
	}
	var candidates []netip.Addr
	for _, name := range []string{networkName(u.rack), defaultBridge} {
		own, err := u.gateways(ctx, name)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, own...)
	}
	return nameservers(ctx, u.zone(), u.cfg.DNS, append(candidates, node.Addresses...))
}

// compare looks at what there is, and plans.
func (u *up) compare(ctx context.Context) error {
	byService := map[string]*component{}
	for _, c := range u.components {
		byService[c.service] = c
	}
	for _, e := range inStopOrder(u.have) {
		if c := byService[e.service]; c != nil {
			c.have = append(c.have, e)
		} else {
			u.gone = append(u.gone, e)
			u.widen(e.component())
		}
	}
	here := func(i *index.Instance) bool { return i.Node() == u.node }
	for _, c := range u.components {
		if node := elsewhere(u.index.Snapshot(), u.app, c.service, here); c.only != "" && node != "" {
			return fmt.Errorf("%s: is run by %s already, and %s", c, node, c.only)
		}
		for _, e := range c.have {
			e.done = e.done && c.ends
		}
		if c.timer != nil {
			c.steps = planTimer(c.hash, c.count, c.have, u.release)
			continue
		}
		c.steps = plan(c.hash, c.count, c.space, c.have, u.release, u.isForeign(c))
		if c.spec.Volume != "" {
			if err := u.checkVolume(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// pulls is how many images are pulled at a time.
const pulls = 4

// resolveImages finds out the images of all components: those that are pulled side
// by side, those that are built one after the other, since a builder has the whole
// machine for itself.
func (u *up) resolveImages(ctx context.Context) error {
	var built, pulled []*component
	of := map[string][]*component{}
	for _, c := range u.components {
		switch {
		case c.timer != nil: // it has its service's
		case c.build != nil:
			built = append(built, c)
		default:
			if of[c.image] == nil {
				pulled = append(pulled, c)
			}
			of[c.image] = append(of[c.image], c)
		}
	}
	err := u.abreast(pulled, pulls, func(c *component) error {
		// One image is pulled once, for all that are of it.
		for _, other := range of[c.image] {
			if err := u.resolveImage(ctx, other); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range built {
		if err := u.resolveImage(ctx, c); err != nil {
			return err
		}
	}
	u.takeImages()
	return nil
}

// work does what was planned for a component.
func (u *up) work(ctx context.Context, c *component) error {
	if err := u.take(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	if c.timer != nil {
		return nil
	}
	return u.declare(ctx, c)
}

// workOnServices works on what is no resource, in the manifest's order. What is on
// trial meanwhile is awaited, whatever comes of the others.
func (u *up) workOnServices(ctx context.Context) error {
	u.ending = ctx
	var failed error
	for _, c := range u.components {
		if c.resource {
			continue
		}
		if failed = u.work(ctx, c); failed != nil {
			break
		}
	}
	onTrial := u.trials.Wait()
	return cmp.Or(failed, onTrial)
}

// perform does what was planned: resources first, since services use them, and
// last what is not wanted any more.
func (u *up) perform(ctx context.Context) error {
	if err := u.remember(ctx, u.registry, &u.progress); err != nil {
		return err
	}
	made, err := dockerclient.EnsureRackNetwork(ctx, u.Client, u.rack)
	if err != nil {
		return err
	}
	if made {
		u.say("network", "made %s", networkName(u.rack))
	}
	if err := u.checkShells(ctx); err != nil {
		return err
	}
	if err := u.announce(ctx); err != nil {
		return err
	}
	if n := slices.IndexFunc(u.components, func(c *component) bool { return c.spec.Health != nil && changes(c.steps) }); n >= 0 {
		if err := u.installProgram(ctx, u.components[n].spec.Image); err != nil {
			return err
		}
	}
	// Resources need nothing of each other; services may, in the manifest's order.
	resources := slices.DeleteFunc(slices.Clone(u.components), func(c *component) bool { return !c.resource })
	if err := u.abreast(resources, atOnce, func(c *component) error { return u.work(ctx, c) }); err != nil {
		return err
	}
	if err := u.workOnServices(ctx); err != nil {
		return err
	}
	if err := u.stopAll(ctx, u.gone, &u.progress); err != nil {
		return err
	}
	if err := u.settle(ctx); err != nil {
		return err
	}
	if err := u.dropPrograms(ctx, u.program); err != nil {
		return err
	}
	releases, err := u.record(ctx)
	if err != nil {
		return err
	}
	return u.dropImages(ctx, releases)
}
