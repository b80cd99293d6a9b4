package test

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// actions are what up has printed of a service, without what varies.
func actions(out, service string) (all []string) {
	release := regexp.MustCompile(` of release R[0-9A-Z]{10}`)
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, service+" "); ok {
			all = append(all, strings.TrimSpace(release.ReplaceAllString(rest, "")))
		}
	}
	return all
}

// The manifest says how many instances may run while they are replaced. What may
// have no second one is started again if the next one doesn't come up.
func TestUpStopsFirst(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	b := newBridge(t)
	a := newApp(t, startRack(t, b))
	write := func(how, command, colour string) {
		a.write("convox.yml", fmt.Sprintf("services: {web: {image: %s, port: 3000, command: %s, environment: [COLOUR=%s], %s}}\n", ours, command, colour, how))
	}
	const alone = "singleton: true"
	write(alone, "-linger 1ms", "red")
	a.run("up")
	write(alone, "-linger 1ms", "blue")
	want := []string{"stopped instance 1", "started instance 1", "serving"}
	if got := actions(a.run("up"), "web"); !slices.Equal(got, want) {
		t.Errorf("a singleton: %q, want %q", got, want)
	}
	before := a.one("web")
	write(alone, "-no-such-flag", "green")
	out, errOut, code := completed(t, a.command("up"))
	if code != 1 || !strings.Contains(errOut, "service web: instance 1 exited with code 2") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	if got := actions(out, "web"); got[len(got)-1] != "started instance 1 again" {
		t.Errorf("after a failure: %q", got)
	}
	if now := a.one("web"); now.id != before.id || !now.inspect().State.Running {
		t.Errorf("container %s is not the one from before, or doesn't run", now.name)
	}
	eventually(t, "the old one", func() error {
		return resolvesTo(a.rack.dns, a.rack.service("web", a.name), b.gateway.String())
	})

	const two = "scale: 3, deployment: {minimum: 34, maximum: 100}"
	write(two, "-linger 1ms", "blue")
	a.run("up")
	write(two, "-linger 1ms", "white")
	got := actions(a.run("up"), "web")
	// The first one by itself, then the two others at a time.
	if len(got) != 9 || !slices.Equal(got[:3], want) || !strings.HasPrefix(got[3], "stopped") {
		t.Errorf("two of three at a time: %q", got)
	}
	a.run("down")
}

// What has something to do, and ends then, is done. It runs again when it is
// another one, and what is deployed after it waits for it.
func TestUpOnce(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	write := func(how, command string) {
		a.write("convox.yml", fmt.Sprintf(`services:
  migrate: {image: %s, command: "%s", %s}
  web: {image: %[1]s, port: 3000}
`, ours, command, how))
	}
	for _, how := range []string{`labels: {rackdns.once: "true"}`, "singleton: true"} {
		write(how, "-ask 127.0.0.1:53")
		if got, want := actions(a.run("up"), "migrate"), []string{"started instance 1", "done"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", how, got, want)
		}
		ran := a.one("migrate")
		if s := ran.inspect().State; s.Running || s.ExitCode != 0 {
			t.Errorf("%s: it is %s, exit code %d", how, s.Status, s.ExitCode)
		}
		if out := a.run("up"); out != "migrate  unchanged\nweb      unchanged\n" {
			t.Errorf("%s: the same again printed\n%s", how, out)
		}
		if again := a.one("migrate"); again.id != ran.id {
			t.Errorf("%s: it ran again", how)
		}
		write(how, "-no-such-flag")
		out, errOut, code := completed(t, a.command("up"))
		if code != 1 || !strings.Contains(errOut, "service migrate: instance 1 exited with code 2") {
			t.Errorf("%s: one that fails: exit code %d\n%s%s", how, code, out, errOut)
		}
		a.run("down")
	}
	write(`labels: {rackdns.once: "true"}`, "-linger 1ms")
	out, errOut, code := completed(t, a.command("up", "--timeout", "3s"))
	if code != 1 || !strings.Contains(errOut, "instance 1 is not done after 3s") {
		t.Errorf("one that never ends: exit code %d\n%s%s", code, out, errOut)
	}
}

// Who looks at a container that crashes over and over sees it run, as a rule.
func TestRestarts(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	a.write("convox.yml", fmt.Sprintf("services: {web: {image: %s, port: 3000}}\n", ours))
	a.run("up")
	c := a.one("web")
	// As a crash is, and not docker kill, after which the engine leaves it alone.
	if err := syscall.Kill(c.inspect().State.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its restart in ps", func() error {
		out, _, _ := completed(t, command(t, "ps", a.name, "--rack", a.rack.name, "--etcd", a.rack.etcd))
		if !strings.Contains(out, "running, 1 restart ") {
			return fmt.Errorf("ps printed\n%s", out)
		}
		return nil
	})
}

// What is new is on trial beside what is started after it, and what doesn't last is
// removed, though it served.
func TestUpTrial(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	b := newBridge(t)
	a := newApp(t, startRack(t, b))
	// Whoever asks this server ends after five seconds without an answer.
	silent, err := net.ListenPacket("udp", net.JoinHostPort(b.gateway.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	a.write("convox.yml", fmt.Sprintf(`services:
  brief: {image: %s, command: "-ask %s x"}
  web: {image: %[1]s, port: 3000}
`, ours, silent.LocalAddr()))
	out, errOut, code := completed(t, a.command("up", "--trial", "8s"))
	if code != 1 || errOut != "rackdns: service brief: instance 1 exited with code 0\n" {
		t.Errorf("exit code %d, %q", code, errOut)
	}
	began, ended := strings.Index(out, "web      started instance 1\n"), strings.Index(out, "brief    removed instance 1 of release ")
	if began < 0 || ended < began || !strings.Contains(out[ended:], "web      serving\n") || strings.Contains(out, "brief    serving") {
		t.Errorf("up printed\n%s", out)
	}
	if left := a.of("brief"); len(left) != 0 {
		t.Errorf("%s is left", left[0].name)
	}
	web := a.one("web").inspect()
	if !web.State.Running || web.HostConfig.RestartPolicy.Name != container.RestartPolicyUnlessStopped {
		t.Errorf("web is %s, its restart policy %q", web.State.Status, web.HostConfig.RestartPolicy.Name)
	}
}
