// Package dockertest starts Docker Engines that a test may hurt.
package dockertest

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // for the janitor
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// CallLimit bounds a test's call to an engine: one that is stuck is to fail the
// test that waits for it, and not to hang the others.
const CallLimit = time.Minute

// Engine is a Docker Engine of a test's own. It has its own data, socket and
// bridge, keeps running containers when it ends (live-restore), and keeps its
// hands off the machine's packet filter, which another engine uses. InNamespace
// makes it another kind.
type Engine struct {
	// Client is one that gives up after CallLimit.
	Client *client.Client
	// Gateway is the machine's address on the engine's bridge, the network of
	// containers that ask for no other. It is invalid in a namespace.
	Gateway netip.Addr

	dir    string
	bridge string
	// netns is the path of the network namespace it lives in, if not the machine's.
	netns  string
	config string
	log    *os.File
	// containerd is a process of its own, as where systemd starts both.
	containerd, dockerd *process
	// janitor cleans up after the engine as soon as inUse is closed, which it is
	// also by the death of the test.
	janitor *process
	inUse   io.Closer
}

// Option is what an engine has that others have not.
type Option func(*Engine)

// InNamespace has the engine live in the network namespace at a path, which is
// the test's own: there it is as Docker comes, with docker0, the packet filter,
// docker-proxy, and without live-restore, so that it can join a swarm.
func InNamespace(path string) Option { return func(e *Engine) { e.netns = path } }

// WithConfig is the daemon.json of the engine's first start.
func WithConfig(content string) Option { return func(e *Engine) { e.config = content } }

// Require skips the test where the machine lacks what an engine takes, unless
// RACKDNS_REQUIRE_DOCKER is 1.
func Require(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"dockerd", "containerd", "ip", "nsenter", "pgrep"} {
		if _, err := exec.LookPath(tool); err != nil {
			SkipOrFail(t, err.Error())
		}
	}
	if os.Geteuid() != 0 {
		SkipOrFail(t, "it takes root")
	}
}

// New starts an engine of which nothing is left when the test ends. It skips the
// test as Require does.
func New(t *testing.T, opts ...Option) *Engine {
	t.Helper()
	Require(t)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{dir: dir, config: "{}", log: log}
	for _, o := range opts {
		o(e)
	}
	if e.netns == "" {
		e.bridge = "rd" + strings.ToLower(rand.Text()[:8])
		// Of the range for benchmarks, which nobody routes (RFC 2544).
		e.Gateway = netip.AddrFrom4([4]byte{198, 18, byte(mathrand.N(256)), 1})
	}
	t.Cleanup(func() { e.end(t) })
	e.hire(t)
	if e.Client, err = dockerclient.Dial(e.Host()); err == nil {
		err = client.WithTimeout(CallLimit)(e.Client)
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.bridge != "" {
		ip(t, "link", "add", e.bridge, "type", "bridge")
		ip(t, "address", "add", e.Gateway.String()+"/24", "dev", e.bridge)
		ip(t, "link", "set", e.bridge, "up")
	}
	e.Configure(t, e.config)
	e.Write(t, "containerd.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")
	e.containerd = e.spawn(t, "containerd",
		"--config", e.Path("containerd.toml"),
		"--root", e.Path("containerd"),
		"--state", e.Path("state"),
		"--address", e.Path("c.sock"))
	e.Up(t)
	return e
}

// SkipOrFail ends a test that needs an engine of its own: where Docker is
// required, what is missing for one is a failure.
func SkipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
		t.Fatalf("no private Docker Engine: %s", why)
	}
	t.Skipf("no private Docker Engine: %s", why)
}

// Host is the engine's address, as for DOCKER_HOST.
func (e *Engine) Host() string { return "unix://" + e.Path("d.sock") }

// Path is that of a file beside the engine's own, all of which go with it.
func (e *Engine) Path(name string) string { return filepath.Join(e.dir, name) }

// Write writes such a file, whole or not at all: somebody may wait for it to be
// there, and read it at once.
func (e *Engine) Write(t *testing.T, name, content string) {
	t.Helper()
	next := e.Path("." + name + ".next")
	err := os.WriteFile(next, []byte(content), 0o600)
	if err == nil {
		err = os.Rename(next, e.Path(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Configure writes the engine's daemon.json, which it reads when it starts.
func (e *Engine) Configure(t *testing.T, content string) {
	t.Helper()
	e.Write(t, "dockerd.json", content)
}

// Up starts the engine's process and waits until it answers.
func (e *Engine) Up(t *testing.T) {
	t.Helper()
	args := []string{
		"--config-file", e.Path("dockerd.json"),
		"--containerd", e.Path("c.sock"),
		"--data-root", e.Path("data"),
		"--exec-root", e.Path("exec"),
		"--pidfile", e.Path("pid"),
		"--host", e.Host(),
		"--storage-driver", "vfs",
	}
	if e.netns == "" {
		args = append(args,
			"--bridge", e.bridge,
			"--iptables=false", "--ip6tables=false", "--ip-masq=false",
			"--live-restore")
	}
	e.dockerd = e.spawn(t, "dockerd", args...)
	e.answers(t)
}

// answers waits until the engine does.
func (e *Engine) answers(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(CallLimit); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := e.Client.ContainerList(ctx, container.ListOptions{})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("private Docker Engine: %v\n%s", err, e.tail())
		}
		select {
		case <-e.dockerd.exited:
			t.Fatalf("private Docker Engine ended:\n%s", e.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Down sends the engine's process a signal and waits for its end. The containers
// run on.
func (e *Engine) Down(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := e.dockerd.Signal(sig); err != nil {
		t.Fatalf("send dockerd %s: %v", sig, err)
	}
	select {
	case <-e.dockerd.exited:
	case <-time.After(CallLimit):
		t.Fatalf("dockerd outlived %s:\n%s", sig, e.tail())
	}
}

// Hang has the engine take everything and answer nothing, at most until the
// test ends.
func (e *Engine) Hang(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { e.GoOn(t) })
	if err := e.dockerd.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// GoOn ends Hang.
func (e *Engine) GoOn(t *testing.T) {
	t.Helper()
	if err := e.dockerd.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

// Revive does what an operator does with an engine that is stuck: it kills the
// engine and what it holds on to, and starts it again.
func (e *Engine) Revive(t *testing.T) {
	t.Helper()
	e.Down(t, syscall.SIGKILL)
	e.killShims(t)
	e.Up(t)
}

// tail is the end of what the engine logs.
func (e *Engine) tail() string {
	b, err := os.ReadFile(e.Path("log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// end leaves nothing of the engine behind.
func (e *Engine) end(t *testing.T) {
	t.Helper()
	if e.Client != nil {
		// In a namespace it ends its containers itself, all at once.
		if e.dockerd != nil && e.netns == "" {
			e.removeAll(t)
		}
		_ = e.Client.Close()
	}
	if e.janitor != nil {
		_ = e.inUse.Close()
		<-e.janitor.exited
		if !e.janitor.state.Success() {
			t.Errorf("cleaning up after the private Docker Engine: %v\n%s", e.janitor.state, &e.janitor.out)
		}
	}
	for _, p := range []*process{e.dockerd, e.containerd} {
		if p != nil {
			_ = p.Kill() // in case that the janitor failed
			<-p.exited
		}
	}
	_ = e.log.Close()
}

// removeAll has the engine remove what it can; end kills the rest.
func (e *Engine) removeAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), CallLimit)
	defer cancel()
	list, err := e.Client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		t.Logf("list the containers of the private engine: %v", err)
	}
	for _, c := range list {
		if err := e.Client.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Logf("remove container %.12s of the private engine: %v", c.ID, err)
		}
	}
}

// killShims ends containers that are left because their engine failed.
func (e *Engine) killShims(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,ppid=,args=").Output()
	if err != nil {
		t.Error(err)
		return
	}
	shims := map[string]bool{}
	for l := range strings.Lines(string(out)) {
		if strings.Contains(l, "containerd-shim") && strings.Contains(l, e.dir+"/") {
			shims[strings.Fields(l)[0]] = true
		}
	}
	for l := range strings.Lines(string(out)) {
		if f := strings.Fields(l); len(f) > 1 && (shims[f[0]] || shims[f[1]]) {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// janitor is what cleans up after an engine.
//
//go:embed janitor.sh
var janitor string

// hire starts the janitor.
func (e *Engine) hire(t *testing.T) {
	t.Helper()
	waits, inUse, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	cmd := exec.Command("sh", "-c", janitor, "janitor.sh", e.dir, e.bridge)
	cmd.Stdin = waits
	// An interrupt from the terminal is for the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := new(process)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	p.start(t, cmd)
	e.inUse, e.janitor = inUse, p
}

// process is a program that runs in the background.
type process struct {
	*os.Process
	exited chan struct{}
	// state and out, if it was asked for, are there once it has exited.
	state *os.ProcessState
	out   bytes.Buffer
}

// start starts a program that outlives the test's context, to be cleaned up
// after.
func (p *process) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Process, p.exited = cmd.Process, make(chan struct{})
	go func() {
		_ = cmd.Wait() // the result is in cmd.ProcessState
		p.state = cmd.ProcessState
		close(p.exited)
	}()
}

// spawn starts a part of the engine, which logs to its file.
func (e *Engine) spawn(t *testing.T, name string, args ...string) *process {
	t.Helper()
	if e.netns != "" {
		// Not `ip netns exec`, which hides the cgroups. It becomes the program.
		name, args = "nsenter", append([]string{"--net=" + e.netns, name}, args...)
	}
	p, cmd := new(process), exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = e.log, e.log
	p.start(t, cmd)
	return p
}
