package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// names are those of a service's containers, in order.
func (a *app) names(service string) []string {
	a.t.Helper()
	var all []string
	for _, c := range a.of(service) {
		all = append(all, c.name)
	}
	slices.Sort(all)
	return all
}

func (a *app) named(what string, want ...string) {
	a.t.Helper()
	if got := a.names("web"); !slices.Equal(got, want) {
		a.t.Errorf("%s: containers %v, want %v", what, got, want)
	}
}

// foreign makes a container that is none of ours, with a name.
func (a *app) foreign(image, name string) *instance {
	a.t.Helper()
	made, err := a.cli.ContainerCreate(engineContext(a.t), &container.Config{Image: image}, nil, nil, nil, name)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &instance{id: made.ID[:12], name: name, cli: a.cli, t: a.t}
	a.t.Cleanup(c.remove)
	return c
}

// internal is what nobody should have to look at: names that are made up, and
// hashes.
var internal = regexp.MustCompile(`-r[0-9a-z]{10}-|@|[0-9a-f]{12}|rackdns-up|_program`)

// Containers keep their names from release to release, and whatever happened to the
// one that gave them. That nobody who uses them notices is TestUp's.
func TestUpNames(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	const manifest = "services: {web: {image: %s, port: 3000, command: -linger 100ms, scale: %d, environment: [COLOUR=%s]}}\n"
	name := func(n int) string { return fmt.Sprintf("%s-web-%d", a.name, n) }
	up := func(scale int, colour string) string {
		t.Helper()
		a.write("convox.yml", fmt.Sprintf(manifest, ours, scale, colour))
		out := a.run("up")
		if made := internal.FindString(out); made != "" {
			t.Errorf("up speaks of %q:\n%s", made, out)
		}
		return out
	}
	up(2, "red")
	a.named("new", name(1), name(2))
	before := a.of("web")
	up(2, "blue")
	a.named("changed", name(1), name(2))
	for n, c := range a.of("web") {
		if c.id == before[n].id || c.environment("COLOUR") != "blue" {
			t.Errorf("container %s is not another one", c.name)
		}
	}

	// One that was interrupted, or an older version, has left another name.
	first := a.of("web")[0]
	old := strings.ToLower(first.name[:len(first.name)-1] + first.environment("RELEASE") + first.name[len(first.name)-2:])
	if err := a.cli.ContainerRename(engineContext(t), first.id, old); err != nil {
		t.Fatal(err)
	}
	if out := up(2, "blue"); out != "web      unchanged\n" {
		t.Errorf("up printed\n%s", out)
	}
	a.named("renamed", name(1), name(2))
	if is := a.of("web")[0]; is.id != first.id {
		t.Errorf("container %s was replaced", first.name)
	}

	// Somebody else's container is left alone, and its name with it.
	other := a.foreign(ours, name(3))
	want := fmt.Sprintf("web      left out instance 3: its name, %s, is that of a container that rackdns up has not made\n", name(3))
	for _, colour := range []string{"blue", "green"} {
		if out := up(3, colour); !strings.Contains(out, want) {
			t.Errorf("no word of it in\n%s", out)
		}
		a.named("beside another", name(1), name(2), name(4))
	}
	if is := other.inspect(); is.Name != "/"+name(3) || is.State.Running {
		t.Errorf("the other one is %s now, running: %t", is.Name, is.State.Running)
	}

	// A version that doesn't come up leaves the names where they are.
	a.write("convox.yml", strings.Replace(fmt.Sprintf(manifest, ours, 3, "white"), "-linger 100ms", "-no-such-flag", 1))
	out, errOut, code := completed(t, a.command("up"))
	if code != 1 || errOut != "rackdns: service web: instance 1 exited with code 2\n" || internal.MatchString(out) {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	a.named("failed", name(1), name(2), name(4))

	if out := a.run("down"); internal.MatchString(out) {
		t.Errorf("down printed\n%s", out)
	}
	// There is nothing left, and the manifest is: it is no mistake.
	cmd := a.from(a.dir, "down")
	cmd.Args = append(cmd.Args, "--app", "nosuch")
	out, errOut, code = completed(t, cmd)
	if want := "rackdns: app nosuch: rackdns up has made none of that name on this engine in rack " + a.rack.name + ", nor any other\n"; code != 1 || errOut != want {
		t.Errorf("exit code %d, %q, want %q\n%s", code, errOut, want, out)
	}
}
