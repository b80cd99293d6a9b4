package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// daemon is a Docker Engine of a test's own, which it may hurt.
type daemon struct {
	*rig
	dir    string
	bridge string
	log    *os.File
	// containerd is a process of its own, as where systemd starts both.
	containerd, dockerd *process
}

// process is a program that runs in the background.
type process struct {
	*os.Process
	exited chan struct{}
}

func (d *daemon) spawn(t *testing.T, name string, args ...string) *process {
	t.Helper()
	// Not the test's context: it has to outlive it to clean up.
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd.Process, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.exited) }()
	return p
}

// end asks the process to end, and makes it.
func (p *process) end() {
	if p == nil {
		return
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		_ = p.Kill()
		<-p.exited
	}
}

// skipOrFail ends a test that needs an engine of its own: where Docker is
// required, what is missing for one is a failure.
func skipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
		t.Fatalf("no private Docker Engine: %s", why)
	}
	t.Skipf("no private Docker Engine: %s", why)
}

// newDaemon starts an engine with its own data, socket and bridge, and keeps
// its hands off the machine's packet filter, which another engine uses.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	docker(t)
	for _, tool := range []string{"dockerd", "containerd", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			skipOrFail(t, err.Error())
		}
	}
	if os.Geteuid() != 0 {
		skipOrFail(t, "it takes root")
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, bridge: "rd" + strings.ToLower(rand.Text()[:8]), log: log}
	t.Cleanup(func() { d.end(t) })
	d.ip(t, "link", "add", d.bridge, "type", "bridge")
	// Of the range for benchmarks, which nobody routes.
	subnet := fmt.Sprintf("198.18.%d.1/24", mathrand.N(256))
	d.ip(t, "address", "add", subnet, "dev", d.bridge)
	d.ip(t, "link", "set", d.bridge, "up")
	d.write(t, "dockerd.json", "{}")
	d.write(t, "containerd.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")
	d.containerd = d.spawn(t, "containerd",
		"--config", filepath.Join(dir, "containerd.toml"),
		"--root", filepath.Join(dir, "containerd"),
		"--state", filepath.Join(dir, "state"),
		"--address", filepath.Join(dir, "c.sock"))
	d.up(t)
	r, err := newRig(d.host())
	if err != nil {
		t.Fatalf("private Docker Engine: %v\n%s", err, d.tail())
	}
	d.rig = r
	return d
}

func (d *daemon) host() string { return "unix://" + filepath.Join(d.dir, "d.sock") }

func (d *daemon) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// up starts the engine's process and waits until it answers.
func (d *daemon) up(t *testing.T) {
	t.Helper()
	d.dockerd = d.spawn(t, "dockerd",
		"--config-file", filepath.Join(d.dir, "dockerd.json"),
		"--containerd", filepath.Join(d.dir, "c.sock"),
		"--data-root", filepath.Join(d.dir, "data"),
		"--exec-root", filepath.Join(d.dir, "exec"),
		"--pidfile", filepath.Join(d.dir, "pid"),
		"--host", d.host(),
		"--bridge", d.bridge,
		"--iptables=false", "--ip6tables=false", "--ip-masq=false",
		"--storage-driver", "vfs",
		"--live-restore")
	d.answers(t)
}

// answers waits until the engine does.
func (d *daemon) answers(t *testing.T) {
	t.Helper()
	cli, err := dockerclient.Dial(d.host())
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	within(t, time.Minute, "private Docker Engine", func() string {
		select {
		case <-d.dockerd.exited:
			t.Fatalf("private Docker Engine ended:\n%s", d.tail())
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := cli.ContainerList(ctx, container.ListOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// down sends the engine's process a signal and waits for its end.
func (d *daemon) down(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := d.dockerd.Signal(sig); err != nil {
		t.Fatalf("send dockerd %s: %v", sig, err)
	}
	select {
	case <-d.dockerd.exited:
	case <-time.After(time.Minute):
		t.Fatalf("dockerd outlived %s:\n%s", sig, d.tail())
	}
}

// revive does what an operator does with an engine that is stuck: it kills the
// engine and what it holds on to, and starts it again.
func (d *daemon) revive(t *testing.T) {
	t.Helper()
	d.down(t, syscall.SIGKILL)
	d.killShims(t)
	d.up(t)
}

func (d *daemon) tail() string {
	b, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// end leaves nothing of the engine behind.
func (d *daemon) end(t *testing.T) {
	t.Helper()
	if d.rig != nil {
		d.removeAll(t)
		d.cli.Close()
	}
	d.dockerd.end()
	d.containerd.end()
	d.killShims(t)
	d.log.Close()
	for _, m := range slices.Backward(mountsBelow(t, d.dir)) {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", m, err)
		}
	}
	_ = exec.Command("ip", "link", "delete", d.bridge).Run()
}

// removeAll has the engine remove what it can; end kills the rest.
func (d *daemon) removeAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	list, err := d.cli.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		t.Logf("list the containers of the private engine: %v", err)
	}
	for _, c := range list {
		if err := d.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Logf("remove container %s of the private engine: %v", shortID(c.ID), err)
		}
	}
}

// killShims ends containers that are left because their engine failed.
func (d *daemon) killShims(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,ppid=,args=").Output()
	if err != nil {
		t.Error(err)
		return
	}
	shims := map[string]bool{}
	for l := range strings.Lines(string(out)) {
		if strings.Contains(l, "containerd-shim") && strings.Contains(l, d.dir+"/") {
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

func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	var mounts []string
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts
}

// endProcess ends a container's process behind the engine's back.
func (d *daemon) endProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatalf("end process %d of a container: %v", pid, err)
	}
	eventually(t, "end of the process", func() string {
		if syscall.Kill(pid, 0) == nil {
			return "it is there"
		}
		return ""
	})
}

// agrees says what is different between what is registered and `docker ps`.
func (d *daemon) agrees(t *testing.T, rec *recorder) string {
	t.Helper()
	running := d.running(t)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var wrong []string
	for id := range running {
		if i := rec.now[id]; i == nil || !i.Serving() {
			wrong = append(wrong, id+" is missing")
		}
	}
	for id := range rec.now {
		if !running[id] {
			wrong = append(wrong, id+" is stale")
		}
	}
	return strings.Join(wrong, ", ")
}

func TestEngineDies(t *testing.T) {
	for _, tt := range []struct {
		name string
		sig  syscall.Signal
	}{
		{"killed", syscall.SIGKILL},
		{"restarted", syscall.SIGTERM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			testEngineDies(t, tt.sig)
		})
	}
}

func testEngineDies(t *testing.T, sig syscall.Signal) {
	t.Helper()
	d := newDaemon(t)
	var ids []string
	for n := range 6 {
		ids = append(ids, d.run(t, spec{name: fmt.Sprint("c", n)}))
	}
	doomed := ids[0]
	c, err := d.cli.ContainerInspect(t.Context(), doomed)
	if err != nil {
		t.Fatal(err)
	}
	_, rec := d.agent(t, nil)
	if wrong := d.agrees(t, rec); wrong != "" {
		t.Fatalf("ready, but %s", wrong)
	}

	d.down(t, sig)
	d.endProcess(t, c.State.Pid)
	for _, id := range ids[1:] {
		if !serving(rec.get(id)) {
			t.Errorf("the engine's end took a name: %+v", rec.get(id))
		}
	}
	d.up(t)
	within(t, 3*time.Second, "agreement after the engine's return", func() string { return d.agrees(t, rec) })
	if rec.get(doomed) != nil {
		t.Errorf("what exited meanwhile is registered: %+v", rec.get(doomed))
	}
	for _, id := range ids[1:] {
		// Nothing alive was ever removed, nor anything else said of it.
		wantStory(t, rec, id, "serving")
	}

	// And the stream is one that works.
	id := d.run(t, spec{name: "after"})
	waitFor(t, rec, id, "start after the engine's return", serving)
	d.kill(t, id, "SIGKILL")
	waitFor(t, rec, id, "death after the engine's return", gone)
}
