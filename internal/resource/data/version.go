package data

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/resource"
)

// inside is where a container that only looks at a volume has it.
const inside = "/.rackdns-data"

// Written says what wrote the data of a volume.
type Written struct {
	// Type is "" if there are no data that any type has, or several may have.
	Type string
	// Version is "" if the data don't say.
	Version string
	// Data says that there are some.
	Data bool
}

// Look finds out what wrote the data of a volume, as far as they say themselves.
// Only a container gives access to a volume: one of that image, with those labels,
// which is never started.
func Look(ctx context.Context, docker *client.Client, volume, image string, t *resource.Type, labels map[string]string) (w Written, err error) {
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	made, err := docker.ContainerCreate(whole,
		&container.Config{Image: image, Cmd: []string{"look"}, Labels: ignored(labels)},
		&container.HostConfig{Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: volume, Target: inside, ReadOnly: true, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}}}, nil, nil, "")
	if err != nil {
		return w, fmt.Errorf("look into volume %s: %w", volume, err)
	}
	defer func() {
		whole, cancel := dockerclient.Whole(ctx)
		defer cancel()
		// Volumes that the image declares are made for each container.
		e := docker.ContainerRemove(whole, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil && e != nil {
			err = fmt.Errorf("look into volume %s: %w", volume, e)
		}
	}()
	for _, f := range t.DataFiles() {
		head, err := readHead(ctx, docker, made.ID, path.Join(inside, f.Path), f.Head())
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return w, fmt.Errorf("look into volume %s: %w", volume, err)
		}
		w.Data = true
		if f.Type != t.Name && w.Type == "" {
			w.Type = f.Type
		} else if f.Type == t.Name {
			w.Type = t.Name
			if w.Version = f.Version(head); w.Version != "" {
				return w, nil
			}
		}
	}
	return w, nil
}

// ignored are labels of a container that no agent is to tell of.
func ignored(labels map[string]string) map[string]string {
	all := map[string]string{label.Ignore: "true"}
	maps.Copy(all, labels)
	return all
}

// readHead reads the beginning of a file of a container.
func readHead(ctx context.Context, docker *client.Client, id, name string, most int64) ([]byte, error) {
	content, _, err := docker.CopyFromContainer(ctx, id, name)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	archive := tar.NewReader(content)
	if _, err := archive.Next(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(archive, most))
}

// patience is how long a server has to say its version.
const patience = 20 * time.Second

// ServerVersion finds out the version of the server in an image: as the image
// says, or else the server, which is run for that alone. It is "" where neither
// does; the server's own check of its data is then the only one.
func ServerVersion(ctx context.Context, docker *client.Client, image string, t *resource.Type, labels map[string]string) (string, error) {
	is, err := docker.ImageInspect(ctx, image)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", image, err)
	}
	if is.Config != nil {
		if version := t.ServerVersion(is.Config.Env); version != "" {
			return version, nil
		}
	}
	command := t.VersionCommand()
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	made, err := docker.ContainerCreate(whole,
		&container.Config{Image: image, Entrypoint: command[:1], Cmd: command[1:], Labels: ignored(labels)},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		return "", fmt.Errorf("ask image %s for its version: %w", image, err)
	}
	defer func() {
		whole, cancel := dockerclient.Whole(ctx)
		defer cancel()
		_ = docker.ContainerRemove(whole, made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}()
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	ended, failed := docker.ContainerWait(ctx, made.ID, container.WaitConditionNextExit)
	if err := docker.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return "", nil // an image without that program says nothing
	}
	select {
	case <-ended:
	case <-failed: //nolint:errcheck // as an image that says nothing
		return "", nil
	}
	out, err := docker.ContainerLogs(ctx, made.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", nil
	}
	defer func() { _ = out.Close() }()
	var text bytes.Buffer
	_, _ = stdcopy.StdCopy(&text, &text, out)
	return resource.SaidVersion(text.String()), nil
}
