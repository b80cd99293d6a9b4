// Package enginetest gives a test a rack of its own on the real Docker Engine.
package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Rack is a rack on the real engine, with images of its own: <name>:good waits
// until it is told to end, <name>:bad ends at once.
type Rack struct {
	// Name is no other rack's.
	Name   string
	Docker *client.Client
	t      *testing.T
}

// New returns a rack of which nothing is left when the test ends. Without an
// engine it skips the test.
func New(t *testing.T) *Rack {
	t.Helper()
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	if _, err := docker.Ping(t.Context()); err != nil {
		t.Skip("no Docker Engine:", err)
	}
	r := &Rack{Name: "rackdns-test-" + strings.ToLower(rand.Text()[:8]), Docker: docker, t: t}
	t.Cleanup(r.clean)
	program := filepath.Join(t.TempDir(), "worker")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/rackdns/rackdns/internal/agent/testdata/worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.importImage(program, "good", "wait")
	r.importImage(program, "bad", "nonsense")
	return r
}

func (r *Rack) importImage(program, tag, command string) {
	r.t.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		r.t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	err = w.WriteHeader(&tar.Header{Name: "worker", Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		r.t.Fatal(err)
	}
	out, err := r.Docker.ImageImport(r.t.Context(), image.ImportSource{Source: &files, SourceName: "-"}, r.Name+":"+tag,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/worker", "` + command + `"]`}})
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, out)
	if err = errors.Join(err, out.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// clean removes all that the rack has, whatever the test left.
func (r *Rack) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for id := range r.Containers() {
		_ = r.Docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}
	for _, name := range r.Volumes() {
		_ = r.Docker.VolumeRemove(ctx, name, true)
	}
	_ = r.Docker.NetworkRemove(ctx, "rackdns-"+r.Name)
	for _, tag := range []string{"good", "bad"} {
		_, _ = r.Docker.ImageRemove(ctx, r.Name+":"+tag, image.RemoveOptions{Force: true})
	}
}

func (r *Rack) own() filters.Args {
	return filters.NewArgs(filters.Arg("label", "rackdns.rack="+r.Name))
}

// Containers returns the states of the rack's containers, by ID.
func (r *Rack) Containers() map[string]string {
	r.t.Helper()
	list, err := r.Docker.ContainerList(context.Background(), container.ListOptions{All: true, Filters: r.own()})
	if err != nil {
		r.t.Error(err)
	}
	all := map[string]string{}
	for _, c := range list {
		all[c.ID[:12]] = c.State
	}
	return all
}

// Volumes returns the names of the rack's volumes.
func (r *Rack) Volumes() []string {
	r.t.Helper()
	list, err := r.Docker.VolumeList(context.Background(), volume.ListOptions{Filters: r.own()})
	if err != nil {
		r.t.Error(err)
	}
	var all []string
	for _, v := range list.Volumes {
		all = append(all, v.Name)
	}
	return all
}

// Networks returns how many networks the rack has.
func (r *Rack) Networks() int {
	r.t.Helper()
	list, err := r.Docker.NetworkList(context.Background(), network.ListOptions{Filters: r.own()})
	if err != nil {
		r.t.Error(err)
	}
	return len(list)
}
