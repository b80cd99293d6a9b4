// Package program puts this program into containers: whatever their image has or
// lacks, it is what the engine runs there for a health check.
package program

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
)

const (
	// dir is where a container finds it.
	dir  = "/.rackdns"
	name = "rackdns"
	// versionLength is that of a version, in characters.
	versionLength = 12
)

// Version returns what tells one version of the program from another, or an
// error if a container that has nothing but its own program can't run it.
func Version(file string) (version string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	binary, err := elf.NewFile(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return "", fmt.Errorf("%s is not a static binary, so a container can't run it: build it with CGO_ENABLED=0", file)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil))[:versionLength], nil
}

// Mount returns the mount that gives a container the program of a volume.
func Mount(volume string) mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Source: volume, Target: dir, ReadOnly: true}
}

// Install says what to put where.
type Install struct {
	// Volume is the volume that is to have it, File the program.
	Volume, File string
	// Container is the name of one that gives access to the volume, of the Image,
	// and is never started.
	Container, Image string
	// Labels are those of both, but for what is each container's own.
	Labels map[string]string
}

// Into puts the program into its volume, unless it is there. Only a container
// gives access to a volume.
func (i Install) Into(ctx context.Context, docker *client.Client) (err error) {
	file, err := os.Open(i.File)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := docker.VolumeCreate(ctx, volume.CreateOptions{Name: i.Volume, Labels: i.Labels}); err != nil {
		return fmt.Errorf("make volume %s: %w", i.Volume, err)
	}
	marked := maps.Clone(i.Labels)
	marked[label.UpID] = rand.Text()
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	access, err := docker.ContainerCreate(whole,
		&container.Config{Image: i.Image, Cmd: []string{name}, Labels: marked},
		&container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: i.Volume, Target: dir}}}, nil, nil, i.Container)
	if err != nil {
		return fmt.Errorf("make container %s: %w", i.Container, err)
	}
	defer func() {
		whole, cancel := dockerclient.Whole(ctx)
		defer cancel()
		e := docker.ContainerRemove(whole, access.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil && e != nil {
			err = fmt.Errorf("remove container %s: %w", i.Container, e)
		}
	}()
	is, err := docker.ContainerStatPath(ctx, access.ID, path.Join(dir, name))
	if err == nil && is.Size == info.Size() {
		return nil
	}
	content, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(archive(w, file, info.Size()))
	}()
	err = docker.CopyToContainer(ctx, access.ID, dir, content, container.CopyToContainerOptions{})
	content.Close()
	<-done
	if err != nil {
		return fmt.Errorf("fill volume %s: %w", i.Volume, err)
	}
	return nil
}

func archive(w io.Writer, file io.Reader, size int64) error {
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, file); err != nil {
		return err
	}
	return archive.Close()
}

// Check is a health check.
type Check struct {
	// URL is what to ask, see package probe.
	URL                      string
	Interval, Timeout, Grace time.Duration
}

// startInterval is the time between two checks until the first one succeeds,
// for at most startPeriod, where the engine can tell that apart.
const (
	startInterval        = 500 * time.Millisecond
	startPeriod          = 30 * time.Second
	startIntervalVersion = "1.44"
)

// Config returns what an engine with that version of the API is to be told.
func (c Check) Config(apiVersion string) *container.HealthConfig {
	h := &container.HealthConfig{
		Test:        []string{"CMD", path.Join(dir, name), "probe", c.URL},
		Interval:    c.Interval,
		Timeout:     c.Timeout,
		StartPeriod: c.Grace,
	}
	if versions.GreaterThanOrEqualTo(apiVersion, startIntervalVersion) {
		h.StartPeriod = max(c.Grace, startPeriod)
		h.StartInterval = min(c.Interval, startInterval)
	}
	return h
}
