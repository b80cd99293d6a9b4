package timer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
)

const (
	// startWithin is how long the engine and the registry have to start what is
	// due: less than a minute, so that one look doesn't run into the next.
	startWithin = 50 * time.Second
	// late is by how much a look may be late, as after the host has slept.
	late = time.Minute
)

// What may happen when it is time and the last run goes on, see
// [label.UpConcurrency].
const (
	Allow   = "allow"
	Forbid  = "forbid"
	Replace = "replace"
)

var runs = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "rackdns_timer_runs_total",
	Help: "Runs of timers by what became of them: done, failed, skipped (the last one goes on) and missed.",
}, []string{"rack", "result"})

// Config says whose timers a [Runner] runs, and how.
type Config struct {
	Rack string
	// Dial returns a client of the engine, for one look at it.
	Dial func() (*client.Client, error)
	// Claim reports whether the node has the run of an app's timer at a time.
	Claim  func(ctx context.Context, app, timer string, at time.Time) (bool, error)
	Logger *slog.Logger
}

// Runner runs the timers of an engine.
type Runner struct {
	cfg Config
	// going are the runs that are waited for.
	going sync.WaitGroup
}

// New returns a Runner that runs nothing yet.
func New(cfg Config) *Runner {
	for _, result := range []string{"done", "failed", "skipped", "missed"} {
		runs.WithLabelValues(cfg.Rack, result)
	}
	return &Runner{cfg: cfg}
}

// Run looks at each full minute what is due, until ctx ends. What runs then goes
// on.
func (r *Runner) Run(ctx context.Context) {
	defer r.going.Wait()
	for {
		next := time.Now().Truncate(time.Minute).Add(time.Minute)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		if lag := time.Since(next); lag > late {
			r.cfg.Logger.Warn("woke up late: what was due meanwhile is not made up for", "due", next.UTC(), "late", lag.Round(time.Second))
			continue
		}
		r.Look(ctx, next)
	}
}

// due is a timer that is due: its containers, by number.
type due struct {
	app, name, concurrency string
	containers             []container.Summary
}

// Look starts what is due at a full minute.
func (r *Runner) Look(ctx context.Context, minute time.Time) {
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	minute = minute.UTC().Truncate(time.Minute)
	cli, err := r.cfg.Dial()
	if err != nil {
		// The agent says that the engine is away, whoever else asks it.
		r.cfg.Logger.Debug("can't look for timers", "error", err)
		return
	}
	all, err := r.find(starting, cli, minute)
	if err != nil {
		r.cfg.Logger.Warn("can't look for timers: what is due now is not run", "due", minute, "error", err)
	}
	var starts, uses sync.WaitGroup
	for _, d := range all {
		ours, err := r.cfg.Claim(starting, d.app, d.name, minute)
		if err != nil {
			r.result("missed")
			r.cfg.Logger.Error("timer is not run: whether another node runs it can't be known", "app", d.app, "timer", d.name, "due", minute, "error", err)
			continue
		}
		if !ours {
			continue
		}
		for _, c := range d.containers {
			starts.Go(func() {
				x := &run{Runner: r, cli: cli, of: d, id: c.ID, name: nameOf(&c), goesOn: c.State == container.StateRunning, minute: minute}
				x.log = r.cfg.Logger.With("app", d.app, "timer", d.name, "container", x.name, "due", minute)
				if !x.start(ctx, starting) {
					return
				}
				uses.Add(1)
				r.going.Go(func() {
					defer uses.Done()
					x.wait(ctx)
				})
			})
		}
	}
	starts.Wait()
	r.going.Go(func() {
		uses.Wait()
		_ = cli.Close()
	})
}

func (r *Runner) result(what string) { runs.WithLabelValues(r.cfg.Rack, what).Inc() }

func nameOf(c *container.Summary) string { return strings.TrimPrefix(cmp.Or(c.Names...), "/") }

// find returns the timers that are due.
func (r *Runner) find(ctx context.Context, cli *client.Client, minute time.Time) ([]*due, error) {
	list, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", label.UpRack+"="+r.cfg.Rack), filters.Arg("label", label.UpTimer))})
	if err != nil {
		return nil, fmt.Errorf("list the containers of timers: %w", err)
	}
	origins := dockerclient.NewOrigins(cli)
	found := map[string]*due{}
	var errs []error
	for _, c := range list {
		schedule, err := Parse(c.Labels[label.UpTimer])
		if err != nil || !schedule.Due(minute) {
			errs = append(errs, err)
			continue
		}
		// A copy has all labels of what it is a copy of.
		if origin, err := origins.Of(ctx, nameOf(&c), c.ImageID, c.Labels); err != nil || origin != label.Ours {
			errs = append(errs, err)
			continue
		}
		app, service := c.Labels[label.App], c.Labels[label.Service]
		d := found[app+"/"+service]
		if d == nil {
			d = &due{app: app, name: service, concurrency: c.Labels[label.UpConcurrency]}
			found[app+"/"+service] = d
		}
		d.containers = append(d.containers, c)
	}
	all := slices.SortedFunc(maps.Values(found), func(a, b *due) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.name, b.name))
	})
	return all, errors.Join(errs...)
}

// run is one run of one container of a timer.
type run struct {
	*Runner
	log    *slog.Logger
	cli    *client.Client
	of     *due
	id     string
	name   string
	goesOn bool
	minute time.Time
	begin  time.Time
	ended  <-chan container.WaitResponse
	failed <-chan error
}

// start starts it, and reports whether it runs. The start has its own time; the
// run has as long as it needs.
func (x *run) start(ctx, starting context.Context) bool {
	if x.goesOn {
		var err error
		switch x.of.concurrency {
		case Forbid:
			x.result("skipped")
			x.log.Warn("timer is not run: its last run still goes on")
			return false
		case Replace:
			x.log.Warn("the last run of a timer still goes on: it is ended for the next one")
			err = x.cli.ContainerStop(starting, x.id, container.StopOptions{})
		default:
			err = x.double(starting)
		}
		if err != nil {
			x.result("failed")
			x.log.Error("timer is not run", "error", err)
			return false
		}
	}
	x.ended, x.failed = x.cli.ContainerWait(ctx, x.id, container.WaitConditionNextExit)
	x.begin = time.Now()
	if err := x.cli.ContainerStart(starting, x.id, container.StartOptions{}); err != nil {
		x.result("failed")
		x.log.Error("timer is not run: its container can't be started", "error", err)
		return false
	}
	return true
}

// wait waits for its end, and says what came of it.
func (x *run) wait(ctx context.Context) {
	select {
	case end := <-x.ended:
		took := time.Since(x.begin).Round(time.Millisecond)
		if end.StatusCode == 0 {
			x.result("done")
			x.log.Info("timer is done", "took", took)
			return
		}
		x.result("failed")
		x.log.Error("timer failed: docker logs of its container tells more", "exitcode", end.StatusCode, "took", took)
	case err := <-x.failed:
		if ctx.Err() == nil {
			x.log.Warn("it is not known how a run of a timer ended", "error", err)
		}
	}
}

// double has it be a second container like the one that still runs. It goes by
// itself when it has ended.
func (x *run) double(ctx context.Context) error {
	is, err := x.cli.ContainerInspect(ctx, x.id)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", x.name, err)
	}
	config, host := is.Config, is.HostConfig
	config.Labels = maps.Clone(config.Labels)
	maps.DeleteFunc(config.Labels, func(k, _ string) bool { return strings.HasPrefix(k, label.UpPrefix) })
	config.Labels[label.Rack] = x.cfg.Rack
	if strings.HasPrefix(x.id, config.Hostname) {
		config.Hostname = "" // the engine's default, which is the container's ID
	}
	host.AutoRemove = true
	made, err := x.cli.ContainerCreate(ctx, config, host, nil, nil, x.name+"-"+x.minute.Format("200601021504"))
	if err != nil {
		return fmt.Errorf("make another one like %s, which still runs: %w", x.name, err)
	}
	x.id = made.ID
	return nil
}
