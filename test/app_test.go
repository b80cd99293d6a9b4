package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// redisImage imports Debian's redis with the libraries that it needs.
var redisImage = sync.OnceValues(func() (string, error) {
	files := map[string]string{}
	for _, program := range []string{"/usr/bin/redis-server", "/usr/bin/redis-cli"} {
		files[strings.TrimPrefix(program, "/")] = program
		addLibraries(files, program)
	}
	return importImage("rackdns-test-redis:"+runID, files, `CMD ["/usr/bin/redis-server", "--protected-mode", "no"]`, "WORKDIR /data")
})

// app is an app in a directory of its own, to be brought up in a rack.
type app struct {
	t         *testing.T
	rack      *rack
	cli       *client.Client
	dir, name string
	// shipped runs the binary as it is shipped, which containers can run too:
	// without it there are no health checks and no resources.
	shipped bool
	// env is what its commands find in their environment, besides.
	env []string
}

// newApp makes an app of the rack. At the end of the test all is removed that
// was made for the rack, whatever the test has left.
func newApp(t *testing.T, r *rack) *app {
	t.Helper()
	a := &app{t: t, rack: r, cli: engine(t), dir: t.TempDir(), name: unique("shop")}
	upRacks.add(r.name)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containers:\n%s", strings.Join(slices.Sorted(maps.Keys(a.containers())), "\n"))
		}
		if err := removeRack(engineContext(t), a.cli, r.name); err != nil {
			t.Errorf("cleaning up rack %s: %v", r.name, err)
		}
	})
	return a
}

// newRedisApp is newApp in a rack of its own, for an app with a Redis: it returns the
// images of that and of our own program, too.
func newRedisApp(t *testing.T) (a *app, redis, ours string) {
	t.Helper()
	needTool(t, "redis-server")
	redis, ours = imageOf(t, redisImage), imageOf(t, testImage)
	a = newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	return a, redis, ours
}

// imageOf returns an image that is made when it is first needed.
func imageOf(t *testing.T, made func() (string, error)) string {
	t.Helper()
	ref, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// upRacks are the racks in which apps were brought up.
var upRacks racks

type racks struct {
	mu    sync.Mutex
	names []string
}

func (r *racks) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, name)
}

func (r *racks) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.names)
}

// removeRack removes all that up makes for a rack.
func removeRack(ctx context.Context, cli *client.Client, rack string) error {
	ours := filters.NewArgs(filters.Arg("label", "rackdns.up.rack="+rack))
	containers, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	errs := []error{err}
	for _, c := range containers {
		errs = append(errs, cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	volumes, err := cli.VolumeList(ctx, volume.ListOptions{Filters: ours})
	errs = append(errs, err)
	for _, v := range volumes.Volumes {
		errs = append(errs, cli.VolumeRemove(ctx, v.Name, true))
	}
	if err := removeNetwork(ctx, cli, "rackdns-"+rack); !errdefs.IsNotFound(err) {
		errs = append(errs, err)
	}
	images, err := cli.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", "rackdns-"+rack+"/*"))})
	errs = append(errs, err)
	for _, i := range images {
		_, err := cli.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true, PruneChildren: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// write writes a file of the app.
func (a *app) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// command prepares up or down for the app.
func (a *app) command(verb string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := command(a.t, append([]string{verb, "--rack", a.rack.name, "--etcd", a.rack.etcd, "--app", a.name}, args...)...)
	cmd.Dir = a.dir
	cmd.Env = append(cmd.Env, a.env...)
	if a.shipped {
		static, err := staticBinary()
		if err != nil {
			a.t.Fatal(err)
		}
		cmd.Path, cmd.Args[0] = static, static
	}
	cmd.Env = append(cmd.Env, "RACKDNS_TRIAL=1s")
	return cmd
}

// run runs up or down and demands that it succeeds.
func (a *app) run(verb string, args ...string) (stdout string) {
	a.t.Helper()
	begin := time.Now()
	out, errOut, code := completed(a.t, a.command(verb, args...))
	a.t.Logf("%s %v took %v:\n%s%s", verb, args, time.Since(begin).Round(time.Millisecond), out, errOut)
	if code != 0 || errOut != "" {
		a.t.Fatalf("%s: exit code %d, stderr %q; want 0 and nothing", verb, code, errOut)
	}
	return out
}

// containers are all that the app has, running or not, by name.
func (a *app) containers() map[string]*instance {
	a.t.Helper()
	list, err := a.cli.ContainerList(engineContext(a.t), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "rackdns.up.rack="+a.rack.name), filters.Arg("label", "rackdns.app="+a.name)),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	all := map[string]*instance{}
	for _, c := range list {
		name := strings.TrimPrefix(c.Names[0], "/")
		all[name] = &instance{id: c.ID[:12], name: name, cli: a.cli, net: &bridge{name: "rackdns-" + a.rack.name}, t: a.t}
	}
	return all
}

// of are the containers of a service, not the copies that somebody else made of
// them, labels and all.
func (a *app) of(service string) []*instance {
	a.t.Helper()
	var some []*instance
	for _, c := range a.containers() {
		if strings.HasPrefix(c.name, a.name+"-") && c.inspect().Config.Labels["rackdns.service"] == service {
			some = append(some, c)
		}
	}
	slices.SortFunc(some, func(x, y *instance) int { return strings.Compare(x.name, y.name) })
	return some
}

// one is the only container of a service.
func (a *app) one(service string) *instance {
	a.t.Helper()
	some := a.of(service)
	if len(some) != 1 {
		a.t.Fatalf("service %s has %d containers, want one", service, len(some))
	}
	return some[0]
}

// ids are the IDs of all containers, sorted.
func (a *app) ids() []string {
	a.t.Helper()
	var ids []string
	for _, c := range a.containers() {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return ids
}

// volumes are the names of the app's volumes.
func (a *app) volumes() []string {
	a.t.Helper()
	list, err := a.cli.VolumeList(engineContext(a.t), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "rackdns.app="+a.name))})
	if err != nil {
		a.t.Fatal(err)
	}
	var names []string
	for _, v := range list.Volumes {
		names = append(names, v.Name)
	}
	return names
}

// environment is what a container was given.
func (c *instance) environment(name string) string {
	c.t.Helper()
	for _, kv := range c.inspect().Config.Env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// exec runs a command in the container and returns what it printed.
func (c *instance) exec(args ...string) (string, error) {
	ctx := engineContext(c.t)
	made, err := c.cli.ContainerExecCreate(ctx, c.id, container.ExecOptions{Cmd: args, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", err
	}
	conn, err := c.cli.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, conn.Reader); err != nil {
		return "", err
	}
	is, err := c.cli.ContainerExecInspect(ctx, made.ID)
	if err == nil && is.ExitCode != 0 {
		err = fmt.Errorf("%v: exit code %d: %s", args, is.ExitCode, &text)
	}
	return strings.TrimSpace(text.String()), err
}

// etcd is a client of the rack's registry.
func (a *app) etcd() *clientv3.Client {
	a.t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{a.rack.etcd}, DialTimeout: soon, Logger: zap.NewNop()})
	if err != nil {
		a.t.Fatal(err)
	}
	return etcd
}

// put writes a key of the rack.
func (a *app) put(key, value string) {
	a.t.Helper()
	etcd := a.etcd()
	defer etcd.Close()
	if _, err := etcd.Put(engineContext(a.t), "/rackdns/v1/"+a.rack.name+"/"+key, value); err != nil {
		a.t.Fatal(err)
	}
}

// declared is what the registry has of the app beside its instances and its
// directory, with the revision of each key's last change.
func (a *app) declared() map[string]string {
	a.t.Helper()
	etcd := a.etcd()
	defer etcd.Close()
	keys, err := etcd.Get(engineContext(a.t), "/rackdns/", clientv3.WithPrefix())
	if err != nil {
		a.t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range keys.Kvs {
		if key := string(kv.Key); strings.Contains(key, "/"+a.name+"/") && !strings.HasPrefix(key, "/rackdns/locks/") && !strings.Contains(key, "/@directory/") && !strings.Contains(key, "/seen/") {
			all[key] = fmt.Sprintf("%d %s", kv.ModRevision, kv.Value)
		}
	}
	return all
}
