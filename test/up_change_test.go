package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// An image is built where there is none, and only what was built anew replaces
// what runs.
func TestUpBuilds(t *testing.T) {
	t.Parallel()
	path, err := containerBinary()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	web := filepath.Join(a.dir, "web")
	if err := os.Mkdir(web, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, filepath.Join(web, "container")); err != nil {
		t.Fatal(err)
	}
	a.write("convox.yml", "services: {web: {build: web, port: 3000}}\n")
	a.write("web/Dockerfile", "FROM scratch\nCOPY . /\nENTRYPOINT [\"/container\"]\n")
	a.write("web/.dockerignore", "*.log\nDockerfile\n")
	a.run("up")
	first := a.one("web")

	// What .dockerignore names is no change.
	a.write("web/run.log", "something\n")
	a.run("up")
	if again := a.one("web"); again.id != first.id {
		t.Errorf("container %s took the place of %s, though nothing changed", again.name, first.name)
	}
	a.write("web/index.html", "something\n")
	a.run("up")
	second := a.one("web")
	if second.id == first.id {
		t.Errorf("container %s was not replaced", first.name)
	}
	prefix := "rackdns-" + a.rack.name + "/" + a.name + ".web:"
	if got := second.inspect().Config.Image; !strings.HasPrefix(got, prefix) {
		t.Errorf("it runs image %s, want %s...", got, prefix)
	}

	if images := a.images(); len(images) != 2 {
		t.Errorf("images %v, want the one that runs and the one before", images)
	}

	a.write("web/Dockerfile", "FROM scratch\nCOPY no-such-file /\n")
	out, errOut, code := completed(t, a.command("up"))
	if code != 1 || !strings.Contains(errOut, "rackdns: service web: build web: ") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("a build that fails: exit code %d\n%s%s", code, out, errOut)
	}
	if !strings.Contains(out, "web      | Step 2/3 : COPY no-such-file /\n") {
		t.Errorf("what the builder said is missing in\n%s", out)
	}
	if got := a.one("web"); got.id != second.id {
		t.Errorf("container %s took the place of %s", got.name, second.name)
	}
	a.run("down")
}

// images are the names of the images that were built for the rack.
func (a *app) images() []string {
	a.t.Helper()
	list, err := a.cli.ImageList(engineContext(a.t), image.ListOptions{
		Filters: filters.NewArgs(filters.Arg("reference", "rackdns-"+a.rack.name+"/*")),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.RepoTags...)
	}
	return names
}

// What the manifest has fewer of is stopped, and nothing else.
func TestUpScales(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	r := startRack(t, newBridge(t))
	a := newApp(t, r)
	const services = "services:\n  web: {image: %[1]s, port: 3000, scale: %[2]d}\n"
	a.write("convox.yml", fmt.Sprintf(services+"  worker: {image: %[1]s, internal: true, port: 3000, links: [web]}\n", ours, 2))
	a.run("up")
	if bound := a.one("worker").inspect().HostConfig.PortBindings; len(bound) > 0 {
		t.Errorf("an internal service is published at %v", bound)
	}
	first := a.of("web")

	a.write("convox.yml", fmt.Sprintf(services, ours, 3))
	a.run("up")
	if left := a.of("worker"); len(left) > 0 {
		t.Errorf("service worker is not in the manifest, and runs: %v", left)
	}
	eventually(t, "service worker is gone", func() error { return resolvesToNothing(r, r.service("worker", a.name)) })
	three := a.of("web")
	if len(three) != 3 || three[0].id != first[0].id || three[1].id != first[1].id {
		t.Fatalf("containers %v became %v, want one more", first, three)
	}
	if was, is := three[0].environment("RELEASE"), three[2].environment("RELEASE"); was != is {
		t.Errorf("what is alike is of releases %s and %s", was, is)
	}

	a.write("convox.yml", fmt.Sprintf(services, ours, 1))
	a.run("up")
	if got := a.one("web"); got.id != first[0].id {
		t.Errorf("container %s is left, want %s", got.name, first[0].name)
	}
	a.write("convox.yml", fmt.Sprintf(services, ours, 0))
	a.run("up")
	if left := a.ids(); len(left) > 0 {
		t.Errorf("containers %v are left", left)
	}
	// It is declared, so its name exists.
	eventually(t, "no instance", func() error { return resolvesToNothing(r, r.service("web", a.name)) })
	if err := nameIs(r, r.service("web", a.name), dns.RcodeSuccess); err != nil {
		t.Error(err)
	}
	a.run("down")
}

// A resource has one container at a time. The old one gets its place back if
// the new one can't fill it.
func TestUpReplacesResource(t *testing.T) {
	t.Parallel()
	a, redis, ours := newRedisApp(t)
	const app = "resources: {cache: {type: redis, options: {image: \"%s\"}}}\nservices: {web: {image: %s, port: 3000, resources: [cache]}}\n"
	a.write("convox.yml", fmt.Sprintf(app, redis, ours))
	a.run("up")
	ids := a.ids()
	at := a.one("web").environment("CACHE_URL")

	a.write("convox.yml", fmt.Sprintf(app, ours, ours))
	out, errOut, code := completed(t, a.command("up", "--timeout", "3s"))
	if code != 1 || !strings.Contains(errOut, "rackdns: resource cache: instance 1 ") {
		t.Errorf("something else than redis: exit code %d\n%s%s", code, out, errOut)
	}
	if diff := cmp.Diff(ids, a.ids()); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
	eventually(t, "redis answers again", func() error {
		got, err := a.one("redis-cache").exec("redis-cli", "-u", at, "PING")
		if err == nil && got != "PONG" {
			err = errors.New(got)
		}
		return err
	})

	// It was stopped by hand, and another one takes its place.
	if err := a.cli.ContainerStop(engineContext(t), a.one("redis-cache").id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	a.write("convox.yml", fmt.Sprintf(app, redis, ours))
	if out := a.run("up"); !strings.Contains(out, "which did not run") {
		t.Errorf("up printed\n%s", out)
	}
	if got, err := a.one("redis-cache").exec("redis-cli", "-u", at, "PING"); err != nil || got != "PONG" {
		t.Errorf("redis: %q %v", got, err)
	}
}

// Who interrupts up while a resource's container is being stopped gets it back:
// the engine ends what it was told to stop, whoever has given up.
func TestUpInterruptedWhileItStops(t *testing.T) {
	t.Parallel()
	needTool(t, "redis-server")
	var images [2]string
	for n := range images {
		var err error
		images[n], err = serverImage{
			name: fmt.Sprint("slow", n), programs: []string{"/usr/bin/redis-server"}, dirs: []string{"/data"},
			changes: []string{
				`ENTRYPOINT ["sh", "-c", "redis-server --protected-mode no & p=$!; trap 'sleep 3; kill $p; wait $p; exit' TERM; wait $p"]`,
				"ENV PATH=/usr/bin:/bin", "WORKDIR /data", fmt.Sprintf("LABEL number=%d", n),
			},
		}.build()
		if err != nil {
			t.Fatal(err)
		}
	}
	const app = "resources: {cache: {type: redis, options: {image: \"%s\"}}}\nservices: {web: {image: %s, port: 3000}}\n"
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	a.write("convox.yml", fmt.Sprintf(app, images[0], ours))
	a.run("up")
	ids := a.ids()

	a.write("convox.yml", fmt.Sprintf(app, images[1], ours))
	up := launchCommand(t, a.command("up"))
	eventually(t, "the old container is told to stop", func() error {
		m, err := found(a.rack.dns, "redis-cache."+a.name+"."+a.rack.zone, dns.TypeSRV)
		if err == nil && len(m.Answer) > 0 {
			err = errors.New("it serves")
		}
		return err
	})
	up.signal(syscall.SIGINT)
	if err := up.wait(); err != nil {
		t.Fatal(err)
	}
	if want := " again\nrackdns: interrupted; the same again completes it\n"; up.cmd.ProcessState.ExitCode() != 130 || !strings.HasSuffix(up.out.String(), want) {
		t.Errorf("%v, %q; want exit code 130 and %q", up.cmd.ProcessState, up.out, want)
	}
	if diff := cmp.Diff(ids, a.ids()); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
	is := a.one("redis-cache").inspect()
	finished, err := time.Parse(time.RFC3339Nano, is.State.FinishedAt)
	if err != nil || finished.Year() < 2000 || !is.State.Running {
		t.Errorf("it runs: %t, and has ended at %s; want it to run again", is.State.Running, is.State.FinishedAt)
	}
}
