package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// buildable makes a directory of the app with what the test image is made of, and
// a Dockerfile.
func (a *app) buildable(dir string, dockerfile ...string) {
	a.t.Helper()
	path, err := containerBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(a.dir, dir), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Link(path, filepath.Join(a.dir, dir, "container")); err != nil {
		a.t.Fatal(err)
	}
	if len(dockerfile) == 0 {
		dockerfile = []string{"FROM scratch", "COPY . /", `ENTRYPOINT ["/container"]`}
	}
	a.write(dir+"/Dockerfile", strings.Join(dockerfile, "\n")+"\n")
}

// refused runs a command of the app that has to fail in one line.
func (a *app) refused(want, verb string, args ...string) (stdout string) {
	a.t.Helper()
	out, errOut, got := completed(a.t, a.command(verb, args...))
	if got != 1 || !strings.HasPrefix(errOut, "rackdns: "+want) || strings.Count(errOut, "\n") != 1 {
		a.t.Errorf("%s %v: exit code %d\n%s%s\nwant 1 and one line, %q", verb, args, got, out, errOut, want)
	}
	return out
}

// What was brought up before comes back, with its image and its environment, also
// once its sources are gone; and so does what was there before that.
func TestRollback(t *testing.T) {
	t.Parallel()
	a := newApp(t, startRack(t, newBridge(t)))
	a.buildable("web")
	a.write("convox.yml", "environment: [COLOUR]\nservices: {web: {build: web, port: 3000}}\n")
	// state is what tells one release from another in what runs.
	state := func() string {
		web := a.one("web")
		return web.environment("COLOUR") + " " + web.inspect().Image
	}
	release := func() string { return a.one("web").environment("RELEASE") }
	a.refused("app "+a.name+": there is no release before this one to go back to\n", "rollback")
	a.write(".env", "COLOUR=red\n")
	a.run("up")
	red, first := state(), release()
	a.refused("app "+a.name+": there is no release before this one to go back to\n", "rollback")
	if got := state(); got != red {
		t.Errorf("a rollback that was refused made %s of %s", got, red)
	}
	a.run("up") // is no release of its own

	a.write(".env", "COLOUR=blue\n")
	a.write("web/index.html", "something\n")
	a.run("up")
	blue, second := state(), release()
	if err := os.RemoveAll(filepath.Join(a.dir, "web")); err != nil {
		t.Fatal(err)
	}
	a.run("rollback")
	if got := state(); got != red || release() == first {
		t.Errorf("after a rollback %s of release %s runs, want %s of a new one", got, release(), red)
	}
	a.run("rollback")
	if got := state(); got != blue || release() == second {
		t.Errorf("after a rollback of the rollback %s of release %s runs, want %s of a new one", got, release(), blue)
	}
	a.run("rollback", "--release", strings.ToLower(first))
	if got := state(); got != red {
		t.Errorf("after a rollback to %s %s runs, want %s", first, got, red)
	}
	list := strings.Split(a.run("releases"), "\n")
	if len(list) != 7 || !strings.HasPrefix(list[1], release()+" ") || !strings.Contains(list[1], " "+first+" ") || !strings.HasPrefix(list[5], first+" ") || !strings.Contains(list[5], "  -  ") {
		t.Errorf("releases:\n%s", strings.Join(list, "\n"))
	}
	a.refused("app "+a.name+": has no release \"RNONE\" on this engine; ", "rollback", "--release", "RNONE")
	for key := range a.declared() {
		if strings.HasPrefix(key, "/rackdns/v1/") && strings.Contains(key, "@") {
			t.Errorf("key %s is where everybody may read", key)
		}
	}
	if n := len(a.images()); n != 2 {
		t.Errorf("images %v, want two", a.images())
	}
	a.run("down")
}

// The images of a service are kept for three releases before the present one, and
// go when they are to: those that were built for the app and that nobody else
// uses.
func TestImagesKept(t *testing.T) {
	t.Parallel()
	mine, err := importImage("rackdns-test-mine:"+runID, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.buildable("web")
	a.write("convox.yml", "services: {web: {build: web, port: 3000}}\n")
	prefix := "rackdns-" + a.rack.name + "/" + a.name + ".web:"
	var built []string
	for n := range 6 {
		a.write("web/index.html", fmt.Sprintln(n))
		a.run("up")
		built = append(built, a.one("web").inspect().Config.Image)
	}
	kept := map[string]bool{}
	for _, i := range a.images() {
		kept[i] = true
	}
	for n, i := range built {
		if want := n >= 2; kept[i] != want {
			t.Errorf("image %d of 6: is there: %t, want %t", n+1, kept[i], want)
		}
	}
	a.write("web/Dockerfile", "FROM scratch\nCOPY no-such-file /\n")
	a.refused("service web: build web: ", "up")

	// One that only has the name, and one that somebody else uses.
	if err := a.cli.ImageTag(engineContext(t), mine, prefix+"mine"); err != nil {
		t.Fatal(err)
	}
	made, err := a.cli.ContainerCreate(engineContext(t), &container.Config{Image: built[5], Labels: map[string]string{label: runID, "rackdns.ignore": "true"}}, nil, nil, nil, unique("rackdns-test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.cli.ContainerRemove(engineContext(t), made.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	out := a.run("down", "--images")
	left := a.images()
	if len(left) != 2 || !strings.Contains(strings.Join(left, " "), prefix+"mine") || !strings.Contains(strings.Join(left, " "), built[5]) {
		t.Errorf("images %v are left, want %smine and %s\n%s", left, prefix, built[5], out)
	}
	if want := "left " + built[5] + ", which a container uses\n"; !strings.Contains(out, want) {
		t.Errorf("down printed\n%s\nwithout %q", out, want)
	}
	a.refused("app "+a.name+": there is no release before this one to go back to\n", "rollback")
}

// What up would do is said, and not done.
func TestUpDryRun(t *testing.T) {
	t.Parallel()
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.buildable("web")
	const services = "services: {web: {build: web, port: 3000, scale: %d}, worker: {image: %s}}\n"
	a.write("convox.yml", fmt.Sprintf(services, 1, ours))
	rehearse := func(want string) {
		t.Helper()
		ids, declared, images := a.ids(), a.declared(), a.images()
		if out := a.run("up", "--dry-run"); out != want {
			t.Errorf("--dry-run printed\n%swant\n%s", out, want)
		}
		if is, was := fmt.Sprint(a.ids(), a.declared(), a.images()), fmt.Sprint(ids, declared, images); is != was {
			t.Errorf("--dry-run made\n%s of\n%s", is, was)
		}
	}
	rehearse("web      would build web\n" +
		"network  would make rackdns-" + a.rack.name + "\n" +
		"web      would start instance 1 and wait until it serves\n" +
		"worker   would start instance 1 and wait until it serves\n")
	a.run("up")
	rehearse("web      would build web\nweb      unchanged, unless the build gives another image\nworker   unchanged\n")
	a.write("convox.yml", "services: {web: {build: web, port: 3000, scale: 2}}\n")
	rehearse("web      would build web\n" +
		"web      would keep instance 1\n" +
		"web      would start instance 2 and wait until it serves\n" +
		"worker   would stop instance 1, which the manifest does not have any more\n")
	a.run("down")
}
