package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
)

// Defaults of [Config].
const (
	DefaultRelistInterval = 45 * time.Second
	DefaultInspectTimeout = 5 * time.Second
	DefaultDrainGrace     = 2 * time.Second
	DefaultWorkers        = 16
)

// drainTimeout bounds how long an agent that is told to drain takes to end.
const drainTimeout = 10 * time.Second

// Config says which engine an agent follows, and for which node it writes.
type Config struct {
	// DockerHost is the engine's address, such as unix:///var/run/docker.sock; if
	// empty it is the engine that the docker command would talk to.
	DockerHost string
	// Registry is where instances are written. [Explain] and [Plan] need none.
	Registry *registry.Client
	// Node is the node's name, the host's if empty.
	Node string
	// HostAddress is the address by which other hosts reach the node; if not
	// valid, that of the default route, or, of an engine on another host, the one
	// by which that is reached.
	HostAddress netip.Addr
	// Alone says that the node is its rack's only one. Then an address that
	// only this host and its containers reach will do where there is no other.
	Alone bool
	// Version is the agent's own, for the node's key.
	Version string
	// TTL is how long names outlive the agent, registry.DefaultTTL if zero.
	TTL time.Duration
	// DrainOnStop removes the node's names when the agent ends. Without it
	// they stay for TTL, and an upgrade of the agent goes unnoticed.
	DrainOnStop bool
	// RelistInterval is the time between two full lists, give or take a fifth.
	RelistInterval time.Duration
	// InspectTimeout bounds one look at one container.
	InspectTimeout time.Duration
	// DrainGrace is how long beyond its stop timeout a container may take to
	// die of its stop signal, before it counts as having survived it.
	DrainGrace time.Duration
	// ImageLabels has the labels and variables of images count like those of
	// containers. Without it they do for ports, health and tags alone.
	ImageLabels bool
	// OnlyLabelled leaves out containers without a label of rackdns.
	OnlyLabelled bool
	// Rack is the agent's rack; that of Registry, if there is one. An empty one
	// is every container's.
	Rack string
	// Workers is how many containers are looked at at once.
	Workers int
	Logger  *slog.Logger
	// OnCommit, if set, is called for every instance that was written: see
	// [registry.PublisherConfig].
	OnCommit func(id string, observed time.Time, revision int64)
}

// Agent keeps the registry equal to what runs on one engine.
type Agent struct {
	cfg Config
	log *slog.Logger
	// configured is the host's address if it needn't be found out; remote says
	// that the engine is on another host, of which only that is known.
	configured netip.Addr
	remote     bool
	host       host
	// place is where the node is now; without a valid address until that is known.
	place atomic.Pointer[place]
	// moving keeps two from finding out the place, and what the node's key says
	// of it, at once. bridges and version are what the engine told last.
	moving  sync.Mutex
	bridges bridges
	version string
	started time.Time
	// boot is the host's boot ID, empty if it has none.
	boot    string
	engine  *redialer
	queue   *queue
	ready   chan struct{}
	waiting chan struct{}
	// newPublisher is what tests replace.
	newPublisher func(registry.Node) (publisher, seenSink)
	// keep keeps what the registry holds of the node; nil without a registry.
	keep func(ctx context.Context)

	// before returns what the registry has of the node's instances; nil without a
	// registry.
	before func(ctx context.Context) ([]*registry.Instance, error)

	// Set once the engine is known, before anything else runs.
	engineID  string
	node      nodeFacts
	tracker   *tracker
	inspector *inspector

	// down is that the engine is out of reach, foreign that it is another one,
	// unheard that kills are not heard of before they are done, lost that the
	// host has no address for others.
	down, foreign, unheard, lost *lasting.Trouble

	// runtimes hears of kills before they are done; nil if it can't.
	runtimes *runtimeWatch
	// heard says once of how many runtimes.
	heard sync.Once
	// unwatched says once why a container's process isn't watched.
	unwatched sync.Once
}

// New checks cfg and returns its agent. It connects to nothing.
func New(cfg Config) (*Agent, error) {
	if cfg.Registry == nil {
		return nil, errors.New("agent: no registry to write to")
	}
	a, err := newAgent(cfg)
	if err != nil {
		return nil, err
	}
	a.cfg.Rack = cfg.Registry.Layout().Rack()
	ours := a.inherits(a.boot, booted())
	a.keep = func(ctx context.Context) { cfg.Registry.KeepNode(ctx, a.cfg.Node, ours, a.log) }
	a.before = func(ctx context.Context) ([]*registry.Instance, error) {
		return cfg.Registry.InstancesOf(ctx, a.cfg.Node)
	}
	a.newPublisher = func(n registry.Node) (publisher, seenSink) {
		pub := registry.NewPublisher(cfg.Registry, registry.PublisherConfig{
			Node:     n,
			Alone:    cfg.Alone,
			TTL:      cfg.TTL,
			Logger:   a.log,
			OnCommit: a.committed,
		})
		return pub, registry.NewSeenKeeper(cfg.Registry, n.Node, pub.Inherit, a.log)
	}
	return a, nil
}

func newAgent(cfg Config) (*Agent, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	configured, err := checkHostAddress(cfg.HostAddress)
	if err != nil {
		return nil, err
	}
	// Once: which engine it is, is not to change while the agent follows it.
	at, err := dockerclient.Find(cfg.DockerHost)
	if err != nil {
		return nil, err
	}
	if c, err := at.Dial(); err != nil {
		return nil, err
	} else if err := c.Close(); err != nil {
		return nil, err
	}
	ls, err := links()
	if err != nil {
		return nil, err
	}
	configured, remote, err := elsewhere(at, configured, ls)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg:        cfg,
		log:        cfg.Logger,
		configured: configured,
		remote:     remote,
		host:       host{routeAddress, links},
		started:    time.Now().UTC().Truncate(time.Second),
		boot:       bootID(),
		engine:     &redialer{dial: func() (engine, error) { return at.Dial() }},
		queue:      newQueue(cfg.Workers),
		node:       nodeFacts{due: make(chan struct{}, 1)},
		ready:      make(chan struct{}),
		waiting:    make(chan struct{}),
		down:       lasting.New(cfg.Logger),
		foreign:    lasting.New(cfg.Logger),
		unheard:    lasting.New(cfg.Logger),
		lost:       lasting.New(cfg.Logger),
	}
	a.place.Store(&place{home: home{node: cfg.Node}})
	// What the engine has to say of it comes later.
	p, err := a.locate(bridges{})
	switch {
	case err == nil:
		a.place.Store(p)
	case !errors.Is(err, errNoAddress):
		return nil, err
	}
	return a, nil
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, fmt.Errorf("node: the host doesn't tell its name, give one with --node: %w", err)
		}
		cfg.Node = host
	}
	if err := registry.CheckNode(cfg.Node); err != nil {
		return cfg, err
	}
	if cfg.RelistInterval <= 0 {
		cfg.RelistInterval = DefaultRelistInterval
	}
	if cfg.InspectTimeout <= 0 {
		cfg.InspectTimeout = DefaultInspectTimeout
	}
	if cfg.DrainGrace <= 0 {
		cfg.DrainGrace = DefaultDrainGrace
	}
	if cfg.Workers <= 0 {
		cfg.Workers = DefaultWorkers
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, nil
}

// Ready returns a channel that is closed once the first list of containers has
// been looked at and given to the registry's publisher.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Waiting returns a channel that is closed if the engine can't be reached at
// the first attempt.
func (a *Agent) Waiting() <-chan struct{} { return a.waiting }

// HostAddress returns the address by which other hosts reach the node now. It
// isn't valid while the host has none, as before its network is up.
func (a *Agent) HostAddress() netip.Addr { return a.home().addr }

// Run follows the engine until ctx ends, and then, if it is to drain, removes
// the node's names. It returns a *registry.TakenError if another agent writes
// under the node's name, and still does after a lease. An Agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.engine.close()
	defer a.queue.close()
	endKeeping := a.keepNames(ctx)
	node, err := a.meet(ctx)
	endKeeping()
	if err != nil || ctx.Err() != nil {
		return err
	}
	pub, seen := a.newPublisher(node)
	a.node.sink, a.node.last = pub, node
	a.tracker = newTracker(a.queue, pub, a.log, a.cfg.DrainGrace)
	a.tracker.ready, a.tracker.seen = a.ready, seen
	a.tracker.networked = a.node.refreshSoon
	a.recall(ctx)
	a.inspector = newInspector(a.engine, a.cfg.ImageLabels, a.cfg.OnlyLabelled)
	if a.runtimes, err = newRuntimeWatch(); err != nil {
		a.log.Debug("kills are known when the engine tells of them, and not before", "error", err)
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pub.Run(gctx) })
	if seen != nil {
		g.Go(func() error {
			select {
			case <-a.ready:
				seen.Run(gctx)
			case <-gctx.Done():
			}
			return nil
		})
	}
	g.Go(func() error { a.follow(gctx); return nil })
	g.Go(func() error { a.work(gctx); return nil })
	g.Go(func() error { a.listen(gctx); return nil })
	g.Go(func() error { a.followHost(gctx); return nil })
	if a.cfg.Registry != nil {
		g.Go(func() error { a.runTimers(gctx); return nil })
	}
	err = g.Wait()
	a.tracker.unwatchAll()
	if err != nil {
		return err
	}
	if !a.cfg.DrainOnStop {
		return nil
	}
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := pub.Drain(dctx); err != nil {
		return fmt.Errorf("drain node %s: %w", a.cfg.Node, err)
	}
	a.log.Info("removed the node's names", "node", a.cfg.Node)
	return nil
}

// recallWithin bounds the look at what the agent before this one has registered.
const recallWithin = time.Second

// recall takes over which containers were about to end when the agent before this
// one did: the engine may have forgotten that it sent them their stop signal.
func (a *Agent) recall(ctx context.Context) {
	if a.before == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recallWithin)
	defer cancel()
	all, err := a.before(ctx)
	if err != nil {
		// Whoever writes to the registry says so.
		a.log.Debug("it is not known which containers were about to end before the agent started, but by the engine's events", "error", err)
	}
	a.tracker.recall(all)
}

// meet waits for the engine and returns what the registry should know of the
// node.
func (a *Agent) meet(ctx context.Context) (registry.Node, error) {
	retry := newRetry()
	for first := true; ; first = false {
		node, err := a.introduce(ctx)
		var wrong *insideError
		switch {
		case err == nil:
			a.down.Over("the Docker Engine is there")
			a.lost.Over("this host has an address for others", "address", a.HostAddress())
			return node, nil
		case errors.As(err, &wrong), errors.Is(err, dockerclient.ErrPodman):
			return node, err
		case ctx.Err() != nil:
			return node, nil
		case errors.Is(err, errNoAddress):
			a.down.Over("the Docker Engine is there")
			a.lost.Note("waiting for an address: this host's containers are registered as soon as it has a default route", err)
		default:
			a.down.Note("can't reach the Docker Engine, and keep trying", err)
		}
		if first {
			close(a.waiting)
		}
		wait(ctx, retry.NextBackOff())
	}
}

func (a *Agent) introduce(ctx context.Context) (registry.Node, error) {
	e, err := a.engine.renew()
	if err != nil {
		return registry.Node{}, err
	}
	if err := checkEngine(ctx, e); err != nil {
		return registry.Node{}, err
	}
	info, err := a.info(ctx, e)
	if err != nil {
		return registry.Node{}, err
	}
	if err := a.settleDown(ctx, e, info.ServerVersion); err != nil {
		return registry.Node{}, err
	}
	a.engineID = info.ID
	return a.describe(registry.Node{
		Node:    a.cfg.Node,
		Engine:  info.ID,
		Boot:    a.boot,
		Version: a.cfg.Version,
		Started: a.started,
		Remote:  a.remote,
	}), nil
}

// checkEngine refuses engines that an agent can't rely on.
func checkEngine(ctx context.Context, e engine) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return dockerclient.CheckEngine(ctx, e)
}

func (a *Agent) info(ctx context.Context, e engine) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := e.Info(ctx)
	if err != nil {
		return info, fmt.Errorf("ask the Docker Engine who it is: %w", err)
	}
	return info, nil
}

// hung is how long an inspect may take before its container is treated as one
// that hangs, and others get its turn. It takes less than a millisecond.
const hung = 200 * time.Millisecond

// work looks at containers as they come, as many at once as the queue allows.
func (a *Agent) work(ctx context.Context) {
	var looking sync.WaitGroup
	defer looking.Wait()
	for {
		id, ok := a.queue.get(ctx)
		if !ok {
			return
		}
		queued.Set(float64(a.queue.size()))
		looking.Go(func() {
			slowly := time.AfterFunc(hung, func() { a.queue.demote(id) })
			failed := a.look(ctx, id)
			// If it fired, it did so before done, or finds nothing to do.
			slowly.Stop()
			a.queue.done(id, failed)
		})
	}
}

// look inspects one container and publishes what follows from that.
func (a *Agent) look(ctx context.Context, id string) (failed bool) {
	e, observed := a.tracker.begin(id)
	if e == nil {
		return false
	}
	ictx, cancel := context.WithTimeout(ctx, a.cfg.InspectTimeout)
	defer cancel()
	d, err := a.decide(ictx, id)
	switch {
	case ctx.Err() != nil:
		return false
	case cerrdefs.IsNotFound(err):
		a.tracker.gone(id, e)
		return false
	case err != nil:
		inspectFailures.Inc()
		times := a.tracker.failed(id, e, observed, err)
		a.queue.addAfter(id, slow, retryAfter(times))
		return true
	}
	a.tracker.apply(id, e, d, observed)
	a.watch(id, e, d.facts)
	return false
}

// decide inspects a container and decides what becomes of it. Should there be
// a container so odd that this program has a mistake for it, then it is that
// one container's.
func (a *Agent) decide(ctx context.Context, id string) (d *decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("container %s: a mistake in rackdns, please report it: %v\n%s", shortID(id), r, debug.Stack())
		}
	}()
	f, err := a.inspector.inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.judge(f), nil
}

// retryAfter returns how long to leave a container alone that could not be
// inspected so many times in a row.
func retryAfter(times int) time.Duration {
	const first, most = 500 * time.Millisecond, 10 * time.Second
	d := min(first<<min(times-1, 10), most)
	return d/2 + rand.N(d/2)
}

func (a *Agent) committed(id string, observed time.Time, revision int64) {
	if !observed.IsZero() {
		commitSeconds.Observe(max(time.Since(observed).Seconds(), 0))
	}
	if a.cfg.OnCommit != nil {
		a.cfg.OnCommit(id, observed, revision)
	}
}
