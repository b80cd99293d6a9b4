package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// execContainer starts a container of the test image, which has nothing but one
// program in it, with rackdns exec as its entrypoint. It doesn't wait for the
// program.
func execContainer(t *testing.T, s spec, args ...string) *instance {
	t.Helper()
	bin, err := staticBinary()
	if err != nil {
		t.Fatal(err)
	}
	if s.image, err = testImage(); err != nil {
		t.Fatal(err)
	}
	s.binds = append(s.binds, bin+":/rackdns:ro")
	s.entrypoint = slices.Concat([]string{"/rackdns", "exec"}, args, []string{"--", "/container"})
	return start(t, s)
}

// variables waits for the container's program and compares its environment.
func (c *instance) variables(want map[string]string) {
	c.t.Helper()
	for name, value := range want {
		eventually(c.t, "the environment of "+c.name, func() error {
			_, err := c.variable(name)
			return err
		})
		if got, err := c.variable(name); err != nil || got != value {
			c.t.Errorf("%s: %q, %v; want %q", name, got, err, value)
		}
	}
}

// leads waits until the container's link to web leads to another container.
func (c *instance) leads(to *instance) {
	c.t.Helper()
	eventually(c.t, "WEB_URL of "+c.name+" leads to "+to.name, func() error {
		at, err := c.variable("WEB_URL")
		if err != nil {
			return err
		}
		got, err := c.connect("http", strings.TrimPrefix(at, "http://"))
		if err == nil && got != to.id {
			err = fmt.Errorf("%s is %s, want %s", at, got, to.id)
		}
		return err
	})
}

// waits says that the container runs and waits for what its program needs.
func (c *instance) waits(what string) {
	c.t.Helper()
	eventually(c.t, c.name+" waits", func() error {
		if logs := c.logs(); !strings.Contains(logs, what) {
			return fmt.Errorf("it says %q, want %q", logs, what)
		}
		return nil
	})
	if c.inspect().State.Status != container.StateRunning {
		c.t.Errorf("%s has ended: %s", c.name, c.logs())
	}
}

// replaced starts another instance of web, at another address, and removes the
// first.
func replaced(t *testing.T, old *instance, s spec) *instance {
	t.Helper()
	c := start(t, s)
	if c.address() == old.address() {
		t.Errorf("both are at %s", c.address())
	}
	old.remove()
	return c
}

// A container that is linked to a service by its convox.yml reaches it by the
// variable, also when another container has taken the service's place. It needs
// no registry, just DNS.
func TestExecFromFile(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	file := filepath.Join(t.TempDir(), "convox.yml")
	text := "services:\n  web: {image: example/web, port: 3000}\n" +
		"  worker: {image: example/worker, port: 3000, links: [web], environment: [MODE=fast]}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	worker := execContainer(t, spec{
		app: app, service: "worker", network: b, dns: b.gateway,
		binds: []string{file + ":/app/convox.yml:ro"}, env: []string{"APP=" + app, "SERVICE=worker", "RACK=" + r.name},
	}, "-f", "/app/convox.yml", "--wait", "2m")
	worker.waits("no serving instance of web")

	first := spec{app: app, service: "web", network: b}
	web := start(t, first)
	worker.variables(map[string]string{
		"WEB_URL": "http://web." + app + "." + r.name + ".convox:3000",
		"RACK":    r.name, "APP": app, "SERVICE": "worker", "PORT": "3000", "MODE": "fast",
	})
	worker.leads(web)
	worker.leads(replaced(t, web, first))
	if got := worker.inspect().State.Pid; got == 0 {
		t.Error("the worker has ended")
	}
}

// Without a file the container's labels say what it is and needs.
func TestExecFromLabels(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	worker := execContainer(t, spec{
		app: app, service: "worker", network: b, dns: b.gateway,
		labels: map[string]string{"rackdns.links": "web", "convox.release": "R7"},
		// What is set is left alone.
		binds: []string{r.data + ":/registry:ro"},
		env:   []string{"RACKDNS_RACK=" + r.name, "RACKDNS_ETCD=unix:///registry/etcd.sock", "PORT=8080"},
	}, "--wait", "2m")
	worker.waits("no serving instance of web")

	first := spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}}
	web := start(t, first)
	worker.variables(map[string]string{
		"WEB_URL": "http://web." + app + "." + r.name + ".convox:3000",
		"RACK":    r.name, "APP": app, "SERVICE": "worker", "RELEASE": "R7", "PORT": "8080",
	})
	worker.leads(web)
	worker.leads(replaced(t, web, first))
}

// The command has its predecessor's process: signals are its own, and so is the
// exit code. A signal that comes earlier ends the wait.
func TestExecSignals(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "convox.yml")
	text := "services:\n  web: {image: example/web, port: 3000}\n  worker: {image: example/worker, links: [web]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(wait string, args ...string) *process {
		return launch(t, append([]string{"exec", "-f", file, "--app", "shop", "--service", "worker", "--suffix", "invalid", "--wait", wait, "--"}, args...)...)
	}
	says := func(p *process, what string) {
		t.Helper()
		eventually(t, "exec says "+what, func() error {
			if !strings.Contains(p.out.String(), what) {
				return fmt.Errorf("%q", p.out)
			}
			return nil
		})
	}
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		p := run("2m", "true")
		says(p, "waiting: no serving instance of web")
		p.signal(signal)
		if <-p.exited; p.cmd.ProcessState.ExitCode() != want {
			t.Errorf("%v while it waits: %v, want %d", signal, p.cmd.ProcessState, want)
		}
	}
	p := run("0", "sh", "-c", `trap "exit 7" TERM; echo ready $$; while :; do sleep 0.05; done`)
	says(p, fmt.Sprintf("ready %d", p.cmd.Process.Pid))
	p.signal(syscall.SIGTERM)
	if <-p.exited; p.cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("SIGTERM: %v, want the command's own exit code", p.cmd.ProcessState)
	}
}

// What the format docker prints is what docker makes of it.
func TestEnvFile(t *testing.T) {
	t.Parallel()
	needTool(t, "docker")
	cli, dir := engine(t), t.TempDir()
	image, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"A": "", "B": " a b ", "C": "#x", "D": `it's "quoted" \n`, "E": "$HOME=${HOME}", "F": "ü€", "G": "\t`id`",
		"H": "postgres://u:p@h:1/x?y=z&w#v",
	}
	text := "services:\n  web:\n    image: example/web\n    environment:\n"
	for name, value := range values {
		text += fmt.Sprintf("      %s: %q\n", name, value)
	}
	file, envFile := filepath.Join(dir, "convox.yml"), filepath.Join(dir, "web.env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "env", "-f", file, "shop", "web", "--format", "docker").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(envFile, out, 0o600); err != nil {
		t.Fatal(err)
	}
	name := unique("rackdns-test")
	c := &instance{id: name, name: name, cli: cli, t: t}
	t.Cleanup(c.remove)
	if msg, err := exec.Command("docker", "create", "--env-file", envFile, "--label", label+"="+runID, "--name", name, image).CombinedOutput(); err != nil {
		t.Fatalf("docker create: %v\n%s", err, msg)
	}
	got := c.inspect().Config.Env
	for name, value := range values {
		if !slices.Contains(got, name+"="+value) {
			t.Errorf("%s=%q is not in %q", name, value, got)
		}
	}
}
