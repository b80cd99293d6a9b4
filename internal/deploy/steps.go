package deploy

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
)

// take takes a component's steps.
func (u *up) take(ctx context.Context, c *component) error {
	if c.spec.Volume != "" {
		if err := u.ensureVolume(ctx, c.name, c.spec.Labels[label.Resource]); err != nil {
			return err
		}
	}
	if err := u.ensureMounts(ctx, c); err != nil {
		return err
	}
	if !changes(c.steps) {
		u.say(c.name, "unchanged")
	}
	alike := func(a, b step) bool { return a.action == b.action && a.batch == b.batch }
	return inRuns(ctx, c.steps, alike, func(ctx context.Context, s step) error {
		defer u.settleNames(ctx, c)
		return u.takeStep(ctx, c, s)
	})
}

// atOnce is how many containers of one service are worked on at a time, where
// they needn't wait for each other.
const atOnce = 8

// inRuns does work on each of the items. Those in a row that are alike are done
// at the same time, and all of them before the next.
func inRuns[T any](ctx context.Context, items []T, alike func(a, b T) bool, work func(context.Context, T) error) error {
	for len(items) > 0 {
		n := 1
		for n < len(items) && alike(items[0], items[n]) {
			n++
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, item := range items[:n] {
			group.Go(func() error { return work(ctx, item) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func (u *up) takeStep(ctx context.Context, c *component, s step) error {
	switch s.action {
	case discard:
		if err := u.remove(ctx, s.container); err != nil {
			return err
		}
		u.say(c.name, "removed %s, which did not run", s.container)
	case keep:
		u.add(c, s.container)
		if s.container.done || c.timer != nil {
			return nil
		}
		if err := u.givePassword(ctx, c, s.container); err != nil {
			return err
		}
		if err := u.awaitServing(ctx, c, s.container, exit{}, u.cfg.Trial); err != nil {
			return err
		}
		return u.adopt(ctx, s.container)
	case start:
		return u.start(ctx, c, s)
	case stop:
		if err := u.stopAndRemove(ctx, s.container); err != nil {
			return err
		}
		u.say(c.name, "stopped %s", s.container.released())
	case replace:
		return u.replace(ctx, c, s)
	case ready:
		return u.ready(ctx, c, s)
	}
	return nil
}

// start starts a container and waits until it serves. One that doesn't is
// removed. One for which none stops may stay on trial while others are started.
func (u *up) start(ctx context.Context, c *component, s step) error {
	made, err := u.create(ctx, c, s)
	if err != nil {
		return err
	}
	if s.fresh && !c.once && u.cfg.Trial > first {
		return u.launchOnTrial(ctx, c, made)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	end, err := u.launch(waiting, c, made)
	if err == nil {
		err = u.awaitServing(ctx, c, made, end, u.cfg.Trial)
	}
	return u.served(ctx, c, made, err)
}

// launchOnTrial is start that returns once the container serves. Whether it goes on
// is found out beside what comes next.
func (u *up) launchOnTrial(ctx context.Context, c *component, made *existing) error {
	end, err := u.launch(u.ending, c, made)
	if err == nil {
		err = u.awaitServing(ctx, c, made, end, first)
	}
	if err != nil || made.done {
		return u.served(ctx, c, made, err)
	}
	u.trials.Go(func() error {
		err := u.served(u.ending, c, made, u.awaitServing(u.ending, c, made, end, u.cfg.Trial))
		return wrap(err, c.String())
	})
	return nil
}

// served trusts a container from now on, or removes it if err says that it doesn't
// serve. It returns what it was given, as a rule.
func (u *up) served(ctx context.Context, c *component, made *existing, err error) error {
	if err == nil && !made.done {
		err = u.adopt(ctx, made)
	}
	if err == nil {
		u.add(c, made)
		if made.done {
			u.say(c.name, "done")
		} else {
			u.say(c.name, "serving")
		}
		return nil
	}
	ctx, cancel := dockerclient.Whole(ctx)
	defer cancel()
	if e := u.remove(ctx, made); e != nil {
		u.say(c.name, "could not %v", e)
		return err
	}
	u.say(c.name, "removed %s", made.released())
	return err
}

// replace puts a container into the place of another one that must have ended
// before. If it doesn't serve, the other one gets its place back.
func (u *up) replace(ctx context.Context, c *component, s step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The stop isn't cut off: the engine would go on with it, also after the
	// container was told to start again.
	err := u.haltWhole(ctx, s.container)
	if err == nil {
		u.say(c.name, "stopped %s", s.container.released())
		if err = u.start(ctx, c, s); err == nil {
			return u.remove(ctx, s.container)
		}
	}
	ctx, cancel := dockerclient.Whole(ctx)
	defer cancel()
	if e := u.ContainerStart(ctx, s.container.id, container.StartOptions{}); e != nil {
		u.say(c.name, "could not start %s again: %v", s.container.released(), e)
		return err
	}
	u.say(c.name, "started %s again", s.container.released())
	if e := u.takePasswordBack(ctx, c, s.container); e != nil {
		u.say(c.name, "could not give it its password back: %v", e)
	}
	return err
}

// create makes a container. It isn't cut off: the engine would have made it all
// the same, and nobody would know.
func (u *up) create(ctx context.Context, c *component, s step) (*existing, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	made := &existing{service: c.service, release: s.release, number: s.number, running: true}
	if c.resource {
		made.resource = c.name
	}
	if made.name = made.given(u.app); u.names.isTaken(made.name) {
		made.name = interimName(u.app, c.service, s.release, s.number)
	}
	is := c.spec
	var err error
	if is.Env, err = c.environment(s.release); err != nil {
		return nil, err
	}
	config, host := is.config(networkName(u.rack), u.ClientVersion())
	config.Image = c.image
	config.Labels[label.UpID] = rand.Text()
	config.Labels[label.UpDirectory] = u.directory
	config.Labels[label.UpHash] = c.hash
	config.Labels[label.Release] = s.release
	config.Labels[label.UpNumber] = fmt.Sprint(s.number)
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	reply, err := u.ContainerCreate(whole, config, host, nil, nil, made.name)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", made, err)
	}
	made.id = reply.ID
	u.names.take(made.name)
	return made, nil
}

// launch starts a container, and watches for its end, until ctx ends, from before
// its start, so that none is missed.
func (u *up) launch(ctx context.Context, c *component, made *existing) (exit, error) {
	ended, failed := u.ContainerWait(ctx, made.id, container.WaitConditionNextExit)
	if err := u.ContainerStart(ctx, made.id, container.StartOptions{}); err != nil {
		return exit{}, fmt.Errorf("start %s: %w", made, err)
	}
	u.say(c.name, "started %s", made)
	return exit{ended, failed}, u.givePassword(ctx, c, made)
}

// adopt has the engine restart a container from now on, if it doesn't yet. While
// one is on trial its end is its end: the engine forgets an exit code with the
// next start.
func (u *up) adopt(ctx context.Context, c *existing) error {
	policy := container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	is, err := u.ContainerInspect(ctx, c.id)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", c, err)
	}
	if is.HostConfig != nil && is.HostConfig.RestartPolicy.Name == policy.Name {
		return nil
	}
	_, err = u.ContainerUpdate(ctx, c.id, container.UpdateConfig{RestartPolicy: policy})
	return wrap(err, "have "+c.String()+" restarted")
}
