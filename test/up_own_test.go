package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// commit makes an image of a container. It goes at the end of the test.
func (c *instance) commit() string {
	c.t.Helper()
	made, err := c.cli.ContainerCommit(engineContext(c.t), c.id, container.CommitOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if _, err := c.cli.ImageRemove(engineContext(c.t), made.ID, image.RemoveOptions{Force: true}); err != nil {
			c.t.Error(err)
		}
	})
	return made.ID
}

// runImage runs an image on the rack's network, until the end of the test. It returns
// its name.
func (a *app) runImage(ref string, labels map[string]string, mounts ...mount.Mount) *instance {
	a.t.Helper()
	name := unique("aaa")
	host := &container.HostConfig{NetworkMode: container.NetworkMode("rackdns-" + a.rack.name), Mounts: mounts, PublishAllPorts: true}
	made, err := a.cli.ContainerCreate(engineContext(a.t), &container.Config{Image: ref, Labels: labels}, host, nil, nil, name)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &instance{id: made.ID[:12], name: name, cli: a.cli, net: &bridge{name: "rackdns-" + a.rack.name}, t: a.t}
	a.t.Cleanup(c.remove)
	if err := a.cli.ContainerStart(engineContext(a.t), c.id, container.StartOptions{}); err != nil {
		a.t.Fatal(err)
	}
	return c
}

// told are the instances of a service that DNS names.
func told(r *rack, name string) ([]string, error) {
	m, err := found(r.dns, name, dns.TypeSRV)
	if err != nil {
		return nil, err
	}
	var ids []string
	for target := range targets(m.Answer) {
		id, _, _ := strings.Cut(target, ".")
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// registered waits until DNS knows a container under its own name.
func (a *app) registered(c *instance) {
	a.t.Helper()
	eventually(a.t, "container "+c.name+" is registered", func() error {
		_, err := found(a.rack.dns, a.rack.service(c.name, "default"), dns.TypeA)
		return err
	})
}

// An image that was made of a container has all of its labels. What is run of it
// is not the app's: not told of, not counted, and not touched.
func TestUpLeavesCopiesAlone(t *testing.T) {
	t.Parallel()
	a, redis, ours := newRedisApp(t)
	r := a.rack
	const manifest = "resources: {cache: {type: redis, options: {image: \"%s\"}}}\nservices: {web: {image: %s, port: 3000, environment: [COLOUR=%s]}}\n"
	a.write("convox.yml", fmt.Sprintf(manifest, redis, ours, "red"))
	a.run("up")
	web, cache := a.one("web"), a.one("redis-cache")
	copied := a.runImage(web.commit(), nil)
	// Another tool may make one with all that an inspect says.
	twin := a.runImage(ours, web.inspect().Config.Labels)
	a.registered(copied)
	tells := func(service string, ids ...string) {
		t.Helper()
		slices.Sort(ids)
		eventually(t, "DNS tells of "+service, func() error {
			got, err := told(r, r.service(service, a.name))
			if err == nil && !slices.Equal(got, ids) {
				err = fmt.Errorf("it tells of %v, want %v", got, ids)
			}
			return err
		})
	}
	// The twin says of itself that it is one; the copy says nothing.
	tells("web", web.id, twin.id)

	alone := func(out string, names ...string) {
		t.Helper()
		for _, name := range names {
			if !strings.Contains(out, "left "+name+" alone: ") {
				t.Errorf("no word of %s in\n%s", name, out)
			}
		}
		for _, c := range []*instance{copied, twin} {
			if !c.inspect().State.Running {
				t.Errorf("container %s was stopped", c.name)
			}
		}
	}
	alone(a.run("up"), copied.name, twin.name)
	tells("web", web.id, twin.id)
	if !web.inspect().State.Running {
		t.Fatal("the real one was stopped")
	}

	a.write("convox.yml", fmt.Sprintf(manifest, redis, ours, "blue"))
	alone(a.run("up"), copied.name, twin.name)
	if _, err := a.cli.ContainerInspect(engineContext(t), web.id); err == nil {
		t.Errorf("container %s was not replaced", web.name)
	}

	// Nobody else may work on the data while a new server is put to them.
	volume := mount.Mount{Type: mount.TypeVolume, Source: r.name + "." + a.name + ".cache", Target: "/data"}
	thief := a.runImage(cache.commit(), nil, volume)
	a.write("convox.yml", fmt.Sprintf(manifest, ours, ours, "blue"))
	out, errOut, code := completed(t, a.command("up"))
	want := "rackdns: resource cache: volume " + volume.Source + " is in use by container " + thief.name + ", and two would ruin the data: stop that one first\n"
	if code != 1 || errOut != want {
		t.Errorf("exit code %d, %q, want %q\n%s", code, errOut, want, out)
	}
	if !cache.inspect().State.Running {
		t.Error("the resource was stopped")
	}
	thief.remove()
	a.write("convox.yml", "resources: {cache: {type: mysql, options: {image: \""+ours+"\"}}}\nservices: {web: {image: "+ours+"}}\n")
	want = "rackdns: resource cache: volume " + volume.Source + " has the data of a resource of type redis: give this one another name, or remove them for ever (docker volume rm " + volume.Source + ")\n"
	if out, errOut, code := completed(t, a.command("up")); code != 1 || errOut != want {
		t.Errorf("exit code %d, %q, want %q\n%s", code, errOut, want, out)
	}

	alone(a.run("down", "--volumes", "--yes"), copied.name, twin.name)
	if left := a.volumes(); len(left) > 0 {
		t.Errorf("volumes %v are left", left)
	}
}

// Where nothing tells a container from a copy, it is named and not touched.
func TestUpWithoutImage(t *testing.T) {
	t.Parallel()
	program, err := containerBinary()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := importImage("rackdns-test-gone:"+runID, map[string]string{"container": program}, `ENTRYPOINT ["/container"]`)
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.write("convox.yml", "services: {web: {image: "+ours+", port: 3000}}\n")
	a.run("up")
	web := a.one("web")
	if err := a.cli.ContainerStop(engineContext(t), web.id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.cli.ImageRemove(engineContext(t), ours, image.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.cli.ImageInspect(engineContext(t), web.inspect().Image); err == nil {
		t.Skip("this engine keeps the images of containers")
	}
	want := "rackdns: container " + web.name + ": its image is gone, so nothing tells it from a copy of one that rackdns has made: nothing was changed; " +
		"remove it by hand if it is not needed (docker rm -f " + web.name + ")\n"
	for _, verb := range []string{"up", "down"} {
		if out, errOut, code := completed(t, a.command(verb)); code != 1 || errOut != want {
			t.Errorf("%s: exit code %d, %q, want %q\n%s", verb, code, errOut, want, out)
		}
	}
	if ids := a.ids(); !slices.Equal(ids, []string{web.id}) {
		t.Errorf("containers %v, want %s", ids, web.id)
	}
}

// from prepares up or down in a directory, without saying which app.
func (a *app) from(dir, verb string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := a.command(verb, args...)
	at := slices.Index(cmd.Args, "--app")
	cmd.Args, cmd.Dir = slices.Delete(cmd.Args, at, at+2), dir
	return cmd
}

// Two directories of one name are two apps, and neither touches the other's.
func TestUpDirectories(t *testing.T) {
	t.Parallel()
	a, redis, ours := newRedisApp(t)
	manifest := fmt.Sprintf("resources: {cache: {type: redis, options: {image: %q}}}\nservices: {web: {image: %s, port: 3000, resources: [cache]}}\n", redis, ours)
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(root, "one", a.name), filepath.Join(root, "two", a.name)
	for _, dir := range []string{first, second} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "convox.yml"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	does := func(cmd *exec.Cmd) string {
		t.Helper()
		out, errOut, code := completed(t, cmd)
		if code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", cmd.Args[1:], code, out, errOut)
		}
		return out
	}
	does(a.from(first, "up"))
	at := a.one("web").environment("CACHE_URL")
	if out, err := a.one("redis-cache").exec("redis-cli", "-u", at, "SET", "key", "value"); err != nil || out != "OK" {
		t.Fatalf("redis: %q %v", out, err)
	}
	ids := a.ids()
	same := func(what string) {
		t.Helper()
		if diff := cmp.Diff(ids, a.ids()); diff != "" {
			t.Fatalf("%s: containers (-before +after):\n%s", what, diff)
		}
		if out, err := a.one("redis-cache").exec("redis-cli", "-u", at, "GET", "key"); err != nil || out != "value" {
			t.Fatalf("%s: redis has %q, %v", what, out, err)
		}
	}
	refused := func(cmd *exec.Cmd, want string, exit int) {
		t.Helper()
		out, errOut, code := completed(t, cmd)
		if code != exit || errOut != "rackdns: "+want+"\n" {
			t.Errorf("%v: exit code %d, %q; want %d, %q\n%s", cmd.Args[1:], code, errOut, exit, want, out)
		}
		same(strings.Join(cmd.Args[1:], " "))
	}
	elsewhere := fmt.Sprintf("app %s: was brought up from %s on this engine, and this is %s: give this one a name of its own with --app, or --app %[1]s if it is the same app", a.name, first, second)
	foreign := func() {
		t.Helper()
		for _, args := range [][]string{{"up"}, {"down"}, {"down", "--volumes", "--yes"}} {
			refused(a.from(second, args[0], args[1:]...), elsewhere, 1)
		}
	}
	foreign()
	// Labels say it too, should the registry have forgotten.
	a.forget()
	foreign()
	does(a.from(first, "up"))
	same("up again")

	// By name it is the same app, from there on.
	if out := does(a.byName(second, "up")); !strings.Contains(out, "is that of "+second+" from now on, and was that of "+first+"\n") {
		t.Errorf("up printed\n%s", out)
	}
	same("up by name")
	does(a.from(second, "up"))
	refused(a.from(first, "down"), strings.NewReplacer(first, second, second, first).Replace(elsewhere), 1)

	volume := a.rack.name + "." + a.name + ".cache"
	refused(a.from(second, "down", "--volumes", "--yes"), fmt.Sprintf("volume %s: was made from %s, and this is %s: nothing was changed; give the app by its name, --app %s, to remove it all the same",
		volume, first, second, a.name), 1)
	refused(a.byName(second, "down", "--volumes"), fmt.Sprintf("--volumes: would remove the data of app %s in volume %s for ever, and there is nobody to ask: nothing was changed; say --yes", a.name, volume), 2)
	does(a.byName(second, "down", "--volumes", "--yes"))
	if left, volumes := a.ids(), a.volumes(); len(left)+len(volumes) > 0 {
		t.Errorf("left are %v, %v", left, volumes)
	}
	// Nothing is left that another one could take for its own.
	does(a.from(first, "up"))
	does(a.from(first, "down"))
	refusedAfter, _, _ := completed(t, a.from(second, "up"))
	if ids := a.ids(); len(ids) > 0 {
		t.Errorf("the data of %s were used by %s:\n%s", first, second, refusedAfter)
	}
}

// byName prepares up or down by the app's name, in another directory.
func (a *app) byName(dir, verb string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := a.command(verb, args...)
	cmd.Dir = dir
	return cmd
}

// forget removes what the registry remembers of directories.
func (a *app) forget() {
	a.t.Helper()
	etcd := a.etcd()
	defer etcd.Close()
	ctx := engineContext(a.t)
	keys, err := etcd.Get(ctx, "/rackdns/secrets/"+a.rack.name+"/"+a.name+"/@directory/", clientv3.WithPrefix())
	if err != nil || len(keys.Kvs) != 1 {
		a.t.Fatalf("%d directories are remembered, %v", len(keys.Kvs), err)
	}
	if _, err := etcd.Delete(ctx, string(keys.Kvs[0].Key)); err != nil {
		a.t.Fatal(err)
	}
}

// Two racks on one engine run an app of one name each: DNS of each tells of its
// own, and who is told gets there.
func TestTwoRacksOnOneEngine(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	apps := make([]*app, 2)
	for n := range apps {
		apps[n] = newApp(t, startRack(t, newBridge(t)))
		apps[n].name = apps[0].name
		apps[n].write("convox.yml", fmt.Sprintf("services:\n  web: {image: %s, port: 3000, scale: %d}\n", ours, n+1))
	}
	for _, a := range apps {
		a.run("up")
	}
	marker := start(t, spec{app: apps[0].name, service: "worker", network: newBridge(t), expose: []string{"3000/tcp"}})
	for _, a := range apps {
		// What says nothing of a rack is everybody's. Once it is there, so would be
		// what was started before.
		eventually(t, "a container of no rack", func() error {
			ids, err := told(a.rack, a.rack.service("worker", a.name))
			if err == nil && !slices.Equal(ids, []string{marker.id}) {
				err = fmt.Errorf("instances %v", ids)
			}
			return err
		})
		want := map[string]bool{}
		for _, c := range a.of("web") {
			want[c.id] = true
		}
		m, err := found(a.rack.dns, a.rack.service("web", a.name), dns.TypeSRV)
		if err != nil {
			t.Fatal(err)
		}
		all, err := endpoints(m)
		if err != nil {
			t.Fatal(err)
		}
		reached := map[string]bool{}
		for target, at := range all {
			body, err := get("http://" + at + "/")
			if err != nil {
				t.Errorf("rack %s: %s at %s: %v", a.rack.name, target, at, err)
			}
			reached[strings.TrimSpace(string(body))] = true
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(reached))); diff != "" {
			t.Errorf("rack %s: reached (-want +got):\n%s", a.rack.name, diff)
		}
	}
	apps[0].run("down")
	if n := len(apps[1].of("web")); n != 2 {
		t.Errorf("down in one rack left the other %d containers", n)
	}
	// What it is, each says of its own.
	c := apps[1].of("web")[0]
	for n, want := range map[int]string{0: "not registered (rack)", 1: "serving"} {
		out, errOut, code := completed(t, command(t, "explain", c.name, "--rack", apps[n].rack.name))
		if code != 0 || n == 0 && !strings.Contains(out, "it belongs to that rack, and this is "+apps[0].rack.name) {
			t.Errorf("explain in rack %d: exit code %d, want %s\n%s%s", n, code, want, out, errOut)
		}
	}
}

// An agent that is told so has nothing to do with what isn't labelled.
func TestOnlyLabelled(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	r := startRack(t, b, "--only-labelled")
	plain := start(t, spec{network: b, expose: []string{"3000/tcp"}})
	labelled := start(t, spec{app: "shop", service: "web", network: b, expose: []string{"3000/tcp"}})
	eventually(t, "the labelled one is told", func() error {
		ids, err := told(r, r.service("web", "shop"))
		if err == nil && !slices.Equal(ids, []string{labelled.id}) {
			err = errors.New(strings.Join(ids, " "))
		}
		return err
	})
	if ids, err := told(r, r.service(plain.name, "default")); err == nil {
		t.Errorf("the other is told as well: %v", ids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	out, err := exec.CommandContext(ctx, command(t).Path, "explain", plain.name, "--only-labelled").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "only those that have one count (--only-labelled)") {
		t.Errorf("explain: %v\n%s", err, out)
	}
}
