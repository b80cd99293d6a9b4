package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/data"
)

// Started is a container that runs and waits to be settled: it is known only
// later whether it is to stay.
type Started struct {
	// ID is the container's, as the registry has it.
	ID string

	engine *Engine
	// old is the container in whose place it is, empty if it is new.
	old string
	// changed says that the data were given another password.
	changed bool
	// undo is what to do, last first, if it doesn't stay.
	undo []func(context.Context) error
}

func (s *Started) add(undo func(context.Context) error) { s.undo = append(s.undo, undo) }

// unless takes everything back if err is one, and returns it with what went
// wrong then.
func (s *Started) unless(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// What failed has failed because of this.
		err = context.Cause(ctx)
	}
	ctx, cancel := dockerclient.Whole(ctx)
	defer cancel()
	for n := len(s.undo) - 1; n >= 0; n-- {
		err = errors.Join(err, s.undo[n](ctx))
	}
	s.undo = nil
	return err
}

// Settle lets the container stay, and removes the one in whose place it is. If
// err is one, it makes everything as it was instead, and returns that.
func (s *Started) Settle(ctx context.Context, err error) error {
	if err != nil || s.old == "" {
		return s.unless(ctx, err)
	}
	return s.engine.removeContainer(ctx, s.old)
}

// Replace runs a resource anew, on the same data. Only one container may work
// on them, so the old one is stopped first; it is started again if the new one
// fails. That there is no old one any more is no mistake.
func (e *Engine) Replace(ctx context.Context, name, kind string, spec resource.Spec) (_ *Started, err error) {
	s := &Started{engine: e}
	defer func() { err = s.unless(ctx, err) }()
	if err := e.ensureImage(ctx, spec.Image); err != nil {
		return nil, err
	}
	own := e.ContainerName(name)
	if s.old, err = e.own(ctx, name, own); err != nil {
		return nil, err
	}
	if err := e.checkVolume(ctx, name, kind, spec); err != nil {
		return nil, err
	}
	if s.old == "" {
		// The network may have gone with its last container.
		if err := s.ensureNetwork(ctx); err != nil {
			return nil, err
		}
		return s, s.start(ctx, name, kind, spec)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	s.add(func(ctx context.Context) error { return s.takePasswordBack(ctx, kind, spec) })
	s.add(func(ctx context.Context) error { return e.docker.ContainerStart(ctx, s.old, container.StartOptions{}) })
	if err := e.docker.ContainerStop(whole, s.old, container.StopOptions{}); err != nil {
		return nil, fmt.Errorf("stop container %s: %w", own, err)
	}
	if err := e.docker.ContainerRename(whole, s.old, e.replacedName(name)); err != nil {
		return nil, fmt.Errorf("rename container %s: %w", own, err)
	}
	s.add(func(ctx context.Context) error { return e.docker.ContainerRename(ctx, s.old, own) })
	return s, s.start(ctx, name, kind, spec)
}

// takePasswordBack gives the data the password that the old container knows.
func (s *Started) takePasswordBack(ctx context.Context, kind string, spec resource.Spec) error {
	if !s.changed {
		return nil
	}
	before := spec.Account
	before.Password = spec.Former[0]
	return data.SetPassword(ctx, s.engine.docker, s.old, resource.Lookup(kind), before, []string{spec.Account.Password})
}

// Recover ends a [Engine.Replace] that was cut off: the container that is
// declared, by its ID in the registry, gets its place back, and the other one
// is removed. It reports whether the declared one is there.
func (e *Engine) Recover(ctx context.Context, name, declared string) (there bool, err error) {
	own := e.ContainerName(name)
	current, err := e.own(ctx, name, own)
	if err != nil {
		return false, err
	}
	replaced, err := e.own(ctx, name, e.replacedName(name))
	if err != nil || replaced == "" {
		return is(current, declared), err
	}
	if is(current, declared) {
		return true, e.removeContainer(ctx, replaced)
	}
	if !is(replaced, declared) {
		return false, fmt.Errorf("container %s: is neither the one that is declared nor is %s", own, e.replacedName(name))
	}
	if current != "" {
		if err := e.removeContainer(ctx, current); err != nil {
			return false, err
		}
	}
	if err := e.docker.ContainerRename(ctx, replaced, own); err != nil {
		return false, fmt.Errorf("rename container %s: %w", e.replacedName(name), err)
	}
	if err := e.docker.ContainerStart(ctx, replaced, container.StartOptions{}); err != nil {
		return false, fmt.Errorf("start container %s: %w", own, err)
	}
	return true, nil
}

// is tells whether a container is the one that the registry means.
func is(id, declared string) bool { return len(id) > idLength && id[:idLength] == declared }
