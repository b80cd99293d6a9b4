// Package engine runs the resources of a rack, each as one container, on one
// Docker Engine.
package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/program"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/data"
	"github.com/rackdns/rackdns/internal/terminal"
)

// App is the app of which the containers are instances, so that the agent
// registers them as it does any: the resource's declaration then names one.
const App = resource.AppOfRack

// trial is how long a container has to run before it is trusted.
const trial = time.Second

// startTime is how long a server has until it answers, checkInterval the time
// between two checks of its health.
const (
	startTime     = 2 * time.Minute
	checkInterval = 2 * time.Second
)

// idLength is the length of a container's ID in names.
const idLength = 12

// Engine is a Docker Engine of a rack.
type Engine struct {
	docker *client.Client
	rack   string
	// origins tell its containers from others with their labels.
	origins *dockerclient.Origins
	// program is the file of this program and version which one it is, if it can
	// run in containers: then it checks their health.
	program, version string
}

// Open returns the engine at host, or where the environment says if host is
// empty. It makes no connection.
func Open(host, rack string) (*Engine, error) {
	c, err := dockerclient.Dial(host)
	if err != nil {
		return nil, err
	}
	// Those that were made before there were marks have none but their name.
	marks := append(label.Marks(), label.ResourceName)
	return &Engine{docker: c, rack: rack, origins: dockerclient.NewOrigins(c, marks...)}, nil
}

// UseProgram has health checks run by that program, if containers can run it.
func (e *Engine) UseProgram(file string) {
	if version, err := program.Version(file); err == nil {
		e.program, e.version = file, version
	}
}

// programVolume is the one that has the program. No resource has an underscore in
// its name.
func (e *Engine) programVolume() string { return e.volumeName("_program-" + e.version) }

// Close ends the connections to the engine.
func (e *Engine) Close() error { return e.docker.Close() }

// ContainerName returns the name of the container of a resource.
func (e *Engine) ContainerName(name string) string { return e.rack + "-" + name }

// replacedName is that of the container in whose place another one is tried.
func (e *Engine) replacedName(name string) string { return e.ContainerName(name) + "-replaced" }

func (e *Engine) volumeName(name string) string { return e.rack + "-" + name }

// Run runs a resource that isn't there yet. If that fails nothing is left
// behind.
func (e *Engine) Run(ctx context.Context, name, kind string, spec resource.Spec) (_ *Started, err error) {
	s := &Started{engine: e}
	defer func() { err = s.unless(ctx, err) }()
	if err := e.ensureImage(ctx, spec.Image); err != nil {
		return nil, err
	}
	if err := s.ensureNetwork(ctx); err != nil {
		return nil, err
	}
	if spec.Volume != "" {
		if err := e.makeVolume(ctx, name, kind); err != nil {
			return nil, err
		}
		s.add(func(ctx context.Context) error { return e.removeVolume(ctx, name) })
	}
	return s, s.start(ctx, name, kind, spec)
}

// start makes the container and waits until it can be trusted.
func (s *Started) start(ctx context.Context, name, kind string, spec resource.Spec) error {
	e := s.engine
	own := e.ContainerName(name)
	port := nat.Port(fmt.Sprintf("%d/tcp", spec.Port))
	cfg := &container.Config{
		Image: spec.Image, Env: spec.Env, Cmd: spec.Command, ExposedPorts: nat.PortSet{port: {}},
		Labels: map[string]string{
			label.UpID: rand.Text(), label.Rack: e.rack, label.App: App, label.Service: name, label.Resource: kind, label.ResourceName: name,
		},
	}
	binding := nat.PortBinding{}
	if spec.Loopback {
		binding.HostIP = "127.0.0.1"
	}
	host := &container.HostConfig{
		// The engine chooses a port that is free.
		PortBindings:  nat.PortMap{port: {binding}},
		NetworkMode:   container.NetworkMode(dockerclient.RackNetwork(e.rack)),
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
	}
	if spec.Volume != "" {
		host.Binds = []string{e.volumeName(name) + ":" + spec.Volume}
	}
	if e.program != "" {
		cfg.Healthcheck = program.Check{URL: spec.Probe, Interval: checkInterval, Timeout: checkInterval, Grace: startTime}.Config(e.docker.ClientVersion())
		host.Mounts = append(host.Mounts, program.Mount(e.programVolume()))
		err := program.Install{
			Volume: e.programVolume(), File: e.program, Image: spec.Image, Container: own + "-program",
			Labels: map[string]string{label.Rack: e.rack, label.UpProgram: "true", label.Ignore: "true"},
		}.Into(ctx, e.docker)
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	c, err := e.docker.ContainerCreate(whole, cfg, host, nil, nil, own)
	if err != nil {
		return fmt.Errorf("make container %s: %w", own, err)
	}
	s.ID = c.ID[:idLength]
	s.add(func(ctx context.Context) error { return e.removeContainer(ctx, c.ID) })
	if err := e.docker.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", own, err)
	}
	if err := s.givePassword(ctx, c.ID, kind, spec); err != nil {
		return fmt.Errorf("container %s: %w", own, err)
	}
	if err := e.try(ctx, c.ID, own); err != nil || e.program == "" {
		return err
	}
	return e.awaitHealthy(ctx, c.ID, own)
}

// givePassword has the server take the password that it is to have, if its data
// may have another one.
func (s *Started) givePassword(ctx context.Context, id, kind string, spec resource.Spec) error {
	if len(spec.Former) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := data.SetPassword(ctx, s.engine.docker, id, resource.Lookup(kind), spec.Account, spec.Former)
	s.changed = err == nil
	return err
}

// awaitHealthy waits until the server answers a query of its user's.
func (e *Engine) awaitHealthy(ctx context.Context, id, own string) error {
	tick := time.NewTicker(trial / 4)
	defer tick.Stop()
	timeout := time.NewTimer(startTime)
	defer timeout.Stop()
	last := "it has not answered"
	for {
		is, err := e.docker.ContainerInspect(ctx, id)
		switch {
		case err != nil:
			return fmt.Errorf("watch container %s: %w", own, err)
		case is.State == nil || !is.State.Running:
			return fmt.Errorf("container %s: ended at once", own)
		case is.State.Health == nil || is.State.Health.Status == container.Healthy:
			return nil
		}
		if log := is.State.Health.Log; len(log) > 0 && log[len(log)-1].Output != "" {
			last = terminal.Line(log[len(log)-1].Output)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("container %s: is not healthy after %s: %s", own, startTime, last)
		}
	}
}

// try waits until the container has run for a while. What it says of its end
// stays in its log: it may repeat what it was told.
func (e *Engine) try(ctx context.Context, id, own string) error {
	short, cancel := context.WithTimeout(ctx, trial)
	defer cancel()
	// It starts again by itself, so a first end counts.
	exits, errs := e.docker.ContainerWait(short, id, container.WaitConditionNextExit)
	select {
	case r := <-exits:
		return fmt.Errorf("container %s: ended at once with exit code %d", own, r.StatusCode)
	case err := <-errs:
		if short.Err() == nil {
			return fmt.Errorf("watch container %s: %w", own, err)
		}
	case <-short.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	is, err := e.docker.ContainerInspect(ctx, id)
	if err != nil {
		return fmt.Errorf("watch container %s: %w", own, err)
	}
	// It may have ended before anybody watched.
	if is.State == nil || !is.State.Running || is.RestartCount > 0 {
		return fmt.Errorf("container %s: ended at once", own)
	}
	return nil
}

// Has reports whether a container of a resource is on this engine.
func (e *Engine) Has(ctx context.Context, name string) (bool, error) {
	for _, own := range []string{e.ContainerName(name), e.replacedName(name)} {
		if id, err := e.own(ctx, name, own); id != "" || err != nil {
			return err == nil, err
		}
	}
	return false, nil
}

// own returns the ID of a resource's container of that name, which must be
// ours, "" if there is none.
func (e *Engine) own(ctx context.Context, name, own string) (string, error) {
	c, err := e.docker.ContainerInspect(ctx, own)
	if errdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", own, err)
	}
	l := c.Config.Labels
	if l[label.Rack] != e.rack || l[label.ResourceName] != name {
		return "", fmt.Errorf("container %s: is not one of rack %s", own, e.rack)
	}
	switch origin, err := e.origins.Of(ctx, own, c.Image, l); {
	case err != nil:
		return "", err
	case origin != label.Ours:
		return "", fmt.Errorf("container %s: is not one of rack %s: its image was made of one (docker commit), whose labels it has", own, e.rack)
	}
	return c.ID, nil
}

// Remove removes a resource's container, if it is there, and with volumes the
// data too. If any of that is somebody else's, nothing is removed.
func (e *Engine) Remove(ctx context.Context, name string, volumes bool) error {
	var ids []string
	for _, own := range []string{e.ContainerName(name), e.replacedName(name)} {
		id, err := e.own(ctx, name, own)
		if err != nil {
			return err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	if volumes {
		if _, err := e.Data(ctx, name); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := e.removeContainer(ctx, id); err != nil {
			return err
		}
	}
	if err := e.dropPrograms(ctx); err != nil {
		return err
	}
	if !volumes {
		return nil
	}
	return e.removeVolume(ctx, name)
}

func (e *Engine) removeContainer(ctx context.Context, id string) error {
	// A database that is told to stop leaves tidy data.
	if err := e.docker.ContainerStop(ctx, id, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %s: %w", id[:idLength], err)
	}
	err := e.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", id[:idLength], err)
	}
	return nil
}

func (e *Engine) removeVolume(ctx context.Context, name string) error {
	own, err := e.Data(ctx, name)
	if err != nil || own == "" {
		return err
	}
	if err := e.docker.VolumeRemove(ctx, own, false); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove volume %s: %w", own, err)
	}
	return nil
}

// dropPrograms removes the copies of the program that no container has.
func (e *Engine) dropPrograms(ctx context.Context) error {
	list, err := e.docker.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", label.Rack+"="+e.rack), filters.Arg("label", label.UpProgram),
	)})
	if err != nil {
		return fmt.Errorf("list the volumes of rack %s: %w", e.rack, err)
	}
	for _, v := range list.Volumes {
		if err := e.docker.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove volume %s: %w", v.Name, err)
		}
	}
	return nil
}

// Data returns the volume with a resource's data, "" if there is none. One of
// that name which isn't the resource's is an error.
func (e *Engine) Data(ctx context.Context, name string) (string, error) {
	own := e.volumeName(name)
	v, err := e.docker.VolumeInspect(ctx, own)
	if errdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("inspect volume %s: %w", own, err)
	}
	if v.Labels[label.Rack] != e.rack || v.Labels[label.ResourceName] != name {
		return "", fmt.Errorf("volume %s: is not one of resource %s in rack %s, though it is called so", own, name, e.rack)
	}
	return own, nil
}

// checkVolume makes sure that a server can work on the data that are there, and
// that nobody else does.
func (e *Engine) checkVolume(ctx context.Context, name, kind string, spec resource.Spec) error {
	own := e.volumeName(name)
	v, err := e.docker.VolumeInspect(ctx, own)
	if errdefs.IsNotFound(err) || spec.Volume == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect volume %s: %w", own, err)
	}
	if err := checkType(v.Labels, own, name, kind); err != nil {
		return err
	}
	users, err := e.docker.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("volume", own))})
	if err != nil {
		return fmt.Errorf("list who uses volume %s: %w", own, err)
	}
	for _, user := range users {
		if len(user.Names) > 0 && user.Names[0] != "/"+e.ContainerName(name) {
			return fmt.Errorf("volume %s: is in use by container %s, and two would ruin the data: stop that one first", own, strings.TrimPrefix(user.Names[0], "/"))
		}
	}
	t := resource.Lookup(kind)
	labels := map[string]string{label.Rack: e.rack}
	written, err := data.Look(ctx, e.docker, own, spec.Image, t, labels)
	if err != nil || written.Version == "" {
		return err
	}
	version, err := data.ServerVersion(ctx, e.docker, spec.Image, t, labels)
	if err != nil {
		return err
	}
	if err := t.CheckVersion(written.Version, version); err != nil {
		return fmt.Errorf("volume %s %w", own, err)
	}
	return nil
}

// checkType refuses the data of another type.
func checkType(labels map[string]string, volume, name, kind string) error {
	if was := labels[label.Resource]; was != "" && was != kind {
		return fmt.Errorf("volume %s: has the data of a resource of type %s: give this one another name, or remove them for ever (rackdns resources delete %s --volumes)", volume, was, name)
	}
	return nil
}

// Kept reports whether the data of a resource that was deleted are here. Those of
// another type are an error.
func (e *Engine) Kept(ctx context.Context, name, kind string) (bool, error) {
	own, err := e.Data(ctx, name)
	if err != nil || own == "" {
		return false, err
	}
	v, err := e.docker.VolumeInspect(ctx, own)
	if err != nil {
		return false, fmt.Errorf("inspect volume %s: %w", own, err)
	}
	if err := checkType(v.Labels, own, name, kind); err != nil {
		return false, err
	}
	has, err := e.Has(ctx, name)
	return !has, err
}

// ensureNetwork makes the network of all of the rack's apps, unless it is there.
func (s *Started) ensureNetwork(ctx context.Context) error {
	e := s.engine
	made, err := dockerclient.EnsureRackNetwork(ctx, e.docker, e.rack)
	if made {
		s.add(func(ctx context.Context) error { return e.docker.NetworkRemove(ctx, dockerclient.RackNetwork(e.rack)) })
	}
	return err
}

// makeVolume makes a resource's volume. One that is there has the data of a
// resource that was deleted, with a password that nobody knows.
func (e *Engine) makeVolume(ctx context.Context, name, kind string) error {
	own, err := e.Data(ctx, name)
	switch {
	case err != nil:
		return err
	case own != "":
		return fmt.Errorf("volume %s: has the data of a resource that was deleted; remove it (docker volume rm %[1]s) or choose another name", own)
	}
	own = e.volumeName(name)
	labels := map[string]string{label.Rack: e.rack, label.ResourceName: name, label.Resource: kind}
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	if _, err := e.docker.VolumeCreate(whole, volume.CreateOptions{Name: own, Labels: labels}); err != nil {
		return fmt.Errorf("volume %s: %w", own, err)
	}
	return nil
}

// ensureImage pulls an image that isn't there.
func (e *Engine) ensureImage(ctx context.Context, name string) error {
	_, err := e.docker.ImageInspect(ctx, name)
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if err := dockerclient.Pull(ctx, e.docker, name, nil); err != nil {
		return fmt.Errorf("image %s: is not on this engine and can't be pulled; choose another by the option %s: %w", name, resource.OptionImage, err)
	}
	return nil
}
