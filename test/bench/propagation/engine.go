package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// label marks all that this program makes.
const label = "rackdns.bench"

// engine is the Docker Engine.
type engine struct {
	cli    *client.Client
	run    string
	image  string
	others int

	mu sync.Mutex
	// crowded are the names in DNS of the others.
	crowded []string
}

func newEngine(ctx context.Context, host, dir string) (*engine, error) {
	cli, err := dockerclient.Dial(host)
	if err != nil {
		return nil, err
	}
	e := &engine{cli: cli, run: strings.ToLower(rand.Text()[:8])}
	e.image = "rackdns-bench:" + e.run
	if err := e.load(ctx, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("image for the containers: %w", err), cli.Close())
	}
	return e, nil
}

// load builds the program of the end-to-end tests' containers and makes an
// image of it.
func (e *engine) load(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "container")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./test/container")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "container", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	out, err := e.cli.ImageImport(ctx, image.ImportSource{Source: &files, SourceName: "-"}, e.image,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/container"]`}})
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(io.Discard, out)
	return err
}

// crowd starts other containers, up to n. They use the host's network, which
// costs the engine least, and listen nowhere.
func (e *engine) crowd(ctx context.Context, n int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for ; e.others < n; e.others++ {
		service := fmt.Sprint("other", e.others%50)
		g.Go(func() error {
			id, err := e.make(ctx, "crowd", service, []string{"-http", ""}, &container.HostConfig{NetworkMode: "host"})
			if err != nil {
				return err
			}
			e.mu.Lock()
			e.crowded = append(e.crowded, id[:12]+"."+service+".crowd."+zone)
			e.mu.Unlock()
			return e.start(ctx, id)
		})
	}
	return g.Wait()
}

// create makes a container as people run them: on the default network, with a
// published port.
func (e *engine) create(ctx context.Context, service string) (string, error) {
	return e.make(ctx, app, service, nil, &container.HostConfig{PublishAllPorts: true})
}

func (e *engine) make(ctx context.Context, app, service string, args []string, host *container.HostConfig) (string, error) {
	c, err := e.cli.ContainerCreate(ctx, &container.Config{
		Image: e.image, Cmd: args, ExposedPorts: nat.PortSet{"3000/tcp": {}},
		Labels: map[string]string{label: e.run, "rackdns.app": app, "rackdns.service": service},
	}, host, nil, nil, "")
	return c.ID, err
}

func (e *engine) start(ctx context.Context, id string) error {
	return e.cli.ContainerStart(ctx, id, container.StartOptions{})
}

func (e *engine) kill(ctx context.Context, id string) error {
	return e.cli.ContainerKill(ctx, id, "KILL")
}

// killed returns when the engine told the world of a kill, by its own clock.
func (e *engine) killed(ctx context.Context, id string, since time.Time) (time.Time, error) {
	stamp := func(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
	messages, errs := e.cli.Events(ctx, events.ListOptions{
		Since: stamp(since), Until: stamp(time.Now()),
		Filters: filters.NewArgs(filters.Arg("container", id), filters.Arg("event", string(events.ActionKill))),
	})
	for {
		select {
		case m := <-messages:
			return time.Unix(0, m.TimeNano), nil
		case err := <-errs:
			return time.Time{}, fmt.Errorf("the engine tells of no kill: %w", err)
		}
	}
}

// watch returns a channel that gets the time when a container's process ends,
// and is closed if it doesn't.
func (e *engine) watch(ctx context.Context, id string) (<-chan time.Time, error) {
	c, err := e.cli.ContainerInspect(ctx, id)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(c.State.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d of container %s, is the engine on this host? %w", c.State.Pid, id[:12], err)
	}
	ended := make(chan time.Time, 1)
	go func() {
		defer close(ended)
		defer unix.Close(fd)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(fds, int(patience.Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n == 1 {
				ended <- time.Now()
			}
			return
		}
	}()
	return ended, nil
}

// remove doesn't end with the run's context: it cleans up.
func (e *engine) remove(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
}

// end removes all that this program made.
func (e *engine) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	list, err := e.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label+"="+e.run))})
	g := &errgroup.Group{}
	g.SetLimit(4)
	for _, c := range list {
		g.Go(func() error { return e.remove(c.ID) })
	}
	err = errors.Join(err, g.Wait())
	_, removed := e.cli.ImageRemove(ctx, e.image, image.RemoveOptions{Force: true})
	return errors.Join(err, removed, e.cli.Close())
}
