package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/registry"
)

const (
	// overlap is how far back events are asked for on connecting. An engine
	// answers before it has subscribed, so that a few seconds are needed; what
	// goes beyond tells which containers were sent their stop signal before
	// this agent was there, and does no harm: engines keep their last 256.
	overlap = time.Hour
	// callTimeout bounds every call to the engine but inspects and the stream.
	callTimeout = 30 * time.Second
)

var (
	errStreamEnded = errors.New("the engine ended its stream of events")
	errOtherEngine = errors.New("it has another ID")
)

// newRetry waits a tenth of a second at first and a second at most: an engine
// that is restarting is back within a few, and asking costs nothing.
func newRetry() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     100 * time.Millisecond,
		RandomizationFactor: 0.3,
		Multiplier:          1.5,
		MaxInterval:         time.Second,
	}
}

// follow keeps a stream of events open until ctx ends.
func (a *Agent) follow(ctx context.Context) {
	retry := newRetry()
	for ctx.Err() == nil {
		err := a.session(ctx, func() {
			a.down.Over("the Docker Engine is back")
			streamUp.Set(1)
			retry.Reset()
		})
		if ctx.Err() != nil {
			break
		}
		streamUp.Set(0)
		reconnects.Inc()
		a.down.Note("lost the Docker Engine: names of running containers stay as they are until it is back", err)
		wait(ctx, retry.NextBackOff())
	}
	streamUp.Set(0)
}

// session lives as long as one stream of events. It calls up whenever the
// stream is open and the engine has been listed.
func (a *Agent) session(ctx context.Context, up func()) error {
	e, err := a.engine.renew()
	if err != nil {
		return err
	}
	info, err := a.info(ctx, e)
	if err != nil {
		return err
	}
	if a.runtimes != nil {
		a.runtimes.follow(&info)
	}
	now := time.Now()
	if t, err := time.Parse(time.RFC3339Nano, info.SystemTime); err == nil {
		a.tracker.setClock(t.Sub(now))
		now = t
	}
	g, ctx := errgroup.WithContext(ctx)
	messages, errs := e.Events(ctx, events.ListOptions{
		Since:   timestamp(now.Add(-overlap)),
		Filters: eventFilters(),
	})
	g.Go(func() error {
		for {
			select {
			case m := <-messages:
				a.tracker.event(m)
			case err := <-errs:
				// The client ends its own goroutine by closing errs.
				for range errs {
				}
				if err == nil {
					err = errStreamEnded
				}
				return fmt.Errorf("events: %w", err)
			}
		}
	})
	g.Go(func() error { return a.keepNodeFacts(ctx, e, info.ServerVersion) })
	g.Go(func() error {
		return a.listForever(ctx, e, func() {
			up()
			a.noteEngine(info.ID)
		})
	})
	return g.Wait()
}

// noteEngine says if the engine that answers is another one than before.
func (a *Agent) noteEngine(id string) {
	if id == a.engineID {
		a.foreign.Over("the Docker Engine is the one from before again")
		return
	}
	a.foreign.Note("another Docker Engine answers than before: restart the agent", errOtherEngine, "engine", id, "before", a.engineID)
}

// timestamp returns a time as the engine's API takes it.
func timestamp(t time.Time) string {
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// listForever lists all containers, at once and then from time to time, and
// calls up each time. An
// engine that can't be listed has to be connected to anew: the stream alone
// doesn't tell a quiet engine from a dead one.
func (a *Agent) listForever(ctx context.Context, e engine, up func()) error {
	for {
		if err := a.list(ctx, e); err != nil {
			return err
		}
		up()
		// All nodes of a rack started at once shall not list at once for ever.
		d := a.cfg.RelistInterval
		wait(ctx, d-d/5+rand.N(2*d/5))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (a *Agent) list(ctx context.Context, e engine) error {
	at := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a.refreshRuntimes()
	summaries, err := e.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	ids, stopped := make([]string, 0, len(summaries)), []string{}
	for _, s := range summaries {
		switch s.State {
		case registry.StatusRunning, registry.StatusPaused, "restarting":
			ids = append(ids, s.ID)
		default:
			stopped = append(stopped, s.ID)
		}
	}
	a.tracker.listed(ids, at)
	a.tracker.listedStopped(stopped, at)
	return nil
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
