package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// registryPID is the process ID of the rack's etcd.
func (r *rack) registryPID() (int, error) {
	pid := r.cmd.Process.Pid
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, path := range tasks {
		children, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		for _, child := range strings.Fields(string(children)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err == nil && bytes.HasSuffix(line, []byte("\x00registry\x00")) {
				return strconv.Atoi(child)
			}
		}
	}
	return 0, fmt.Errorf("process %d has no registry", pid)
}

// crashRegistry kills the rack's etcd and waits for the next one.
func (r *rack) crashRegistry() {
	r.t.Helper()
	first, err := r.registryPID()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the registry is back", func() error {
		if pid, err := r.registryPID(); err != nil || pid == first {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		return r.says("the registry is back", 1)
	})
}

// says checks how many lines of the log have a text.
func (r *rack) says(what string, want int) error {
	if n := linesWith(r.out.String(), what); n != want {
		return fmt.Errorf("%d lines with %q, want %d", n, what, want)
	}
	return nil
}

// keepAsking asks a question all the time, until the returned function is called,
// which says how often that was, and fails the test if an answer was wrong.
func keepAsking(t *testing.T, what string, ask func() error) (stop func() int) {
	t.Helper()
	var wg sync.WaitGroup
	end := make(chan struct{})
	asked, wrong := 0, []error{}
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			asked++
			if err := ask(); err != nil {
				wrong = append(wrong, err)
			}
		}
	})
	stop = sync.OnceValue(func() int {
		close(end)
		wg.Wait()
		if len(wrong) > 0 {
			t.Errorf("%s: %d of %d wrong, such as %v", what, len(wrong), asked, wrong[0])
		}
		return asked
	})
	t.Cleanup(func() { stop() })
	return stop
}

// The registry's end is not that of DNS, nor of what the agent registered; it
// is back by itself, and then what is new is told.
func TestRegistryKilled(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	want := atHost(name, instances...)
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, want) })

	stop := keepAsking(t, "both", func() error { return servedBy(r.dns, name, want) })
	r.crashRegistry()
	// What is listed after a lost watch must not differ for a moment, either.
	eventually(t, "a command reads the registry", func() error {
		out, stderr, code := completed(t, command(t, "ps", app, "--rack", r.name, "--etcd", r.etcd))
		if n := strings.Count(out, "running"); code != 0 || n != len(instances) {
			return fmt.Errorf("exit code %d, %d running: %s%s", code, n, out, stderr)
		}
		return nil
	})
	if n := stop(); n == 0 {
		t.Error("nothing was asked")
	}
	if err := r.says("the registry has ended.*killed", 1); err != nil {
		t.Error(err)
	}
	instances = append(instances, web(t, 1, app, b)...)
	eventually(t, "a new one", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
}

// What a terminal sends to all processes ends the agent before the registry
// that it writes to, and all of them without a word of trouble.
func TestInterruptOfAll(t *testing.T) {
	t.Parallel()
	r := newRack(t, nil, "--docker", "off")
	cmd := command(t, r.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.process = launchCommand(t, cmd)
	ready(t, r.process, r.dns, r.zone)
	pid, err := r.registryPID()
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []int{-r.cmd.Process.Pid, pid} { // a service manager's goes to both
		if err := syscall.Kill(to, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.wait(); err != nil || r.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%v, %v", err, r.cmd.ProcessState)
	}
	if n := linesWith(r.out.String(), `(?i)error|panic|registry has ended`); n > 0 {
		t.Errorf("%d lines tell of errors", n)
	}
}

// Whoever reaches this host's TCP ports, be it a web page, another user or a
// container on the host's network, finds DNS and HTTP there and no registry.
func TestNoRegistryByTCP(t *testing.T) {
	t.Parallel()
	at := etcdtest.FreeAddr(t)
	r := startRack(t, nil, "--docker", "off", "--http", at)
	pid, err := r.registryPID()
	if err != nil {
		t.Fatal(err)
	}
	if ports := listening(t, pid); len(ports) != 0 {
		t.Errorf("the registry listens on %v", ports)
	}
	own := listening(t, r.cmd.Process.Pid)
	for _, addr := range []string{r.dns, at} {
		if !own[portOf(t, addr)] {
			t.Errorf("%s is not among the ports that were found: %v", addr, own)
		}
		delete(own, portOf(t, addr))
	}
	if len(own) != 0 {
		t.Errorf("it listens on %v besides DNS and HTTP", own)
	}
	for _, path := range []string{"/v3/kv/range", "/v3/kv/put"} {
		reply, err := http.Post("http://"+at+path, "text/plain", strings.NewReader(`{"key":"AA==","range_end":"AA=="}`))
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode < 400 {
			t.Errorf("%s: %s", path, reply.Status)
		}
	}
}

// listening returns the TCP ports on which a process listens.
func listening(t *testing.T, pid int) map[string]bool {
	t.Helper()
	inodes := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no descriptors of process %d: %v", pid, err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				inodes[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	ports := map[string]bool{}
	for _, name := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			// Number, local and remote address, state, …, inode: proc_net_tcp(5).
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !inodes[f[9]] {
				continue
			}
			port, err := strconv.ParseUint(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			ports[strconv.FormatUint(port, 10)] = true
		}
	}
	return ports
}

// Another user reads nothing and writes nothing, and is told whose it is and
// what to do instead; names can be asked for by everybody.
func TestRegistryOfAnother(t *testing.T) {
	t.Parallel()
	demand(t, os.Getuid() == 0, "can't run a process as another user: not root")
	r := startRack(t, nil, "--docker", "off")
	// As with /var/lib/rackdns, everybody may know that there is a directory.
	if err := os.Chmod(filepath.Dir(r.data), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"services"},
		{"resources"},
		{"register", "legacy", "--ip", "10.0.5.1", "--port", "8080"},
	} {
		for _, how := range []string{"RACKDNS_ETCD=" + r.etcd, "RACKDNS_DATA=" + r.data} {
			cmd := command(t, args...)
			cmd.Env = append(cmd.Env, how, "RACKDNS_RACK="+r.name)
			cmd.Dir = runDir
			asNobody(cmd)
			_, stderr, code := completed(t, cmd)
			if code != failed {
				t.Errorf("%v %s: exit code %d, want %d", args, how, code, failed)
			}
			checkOneLine(t, stderr, r.etcd, "belongs to root", "sudo", "DNS server")
		}
	}
	cmd := exec.Command("sh", "-c", "exec 3<>"+r.socket())
	cmd.Dir = runDir
	asNobody(cmd)
	if cmd.Run() == nil {
		t.Error("the socket can be opened")
	}
	if err := r.says("belongs to", 0); err != nil {
		t.Error(err)
	}
}

// Commands find the registry of this host's data directory by themselves, and
// the banner says what to export for another.
func TestRegistryFound(t *testing.T) {
	t.Parallel()
	r := startRack(t, nil, "--docker", "off")
	register(t, r, "shop", 1)
	eventually(t, "the banner", func() error { return r.says("export RACKDNS_ETCD="+r.etcd, 1) })
	for _, how := range []string{"RACKDNS_DATA=" + r.data, "RACKDNS_ETCD=" + r.etcd, "RACKDNS_ETCD=unix:" + r.socket()} {
		cmd := command(t, "services", "shop")
		cmd.Env = append(cmd.Env, how, "RACKDNS_RACK="+r.name)
		stdout, stderr, code := completed(t, cmd)
		if code != 0 || !strings.Contains(stdout, "web.shop."+r.name) {
			t.Errorf("%s: exit code %d\n%s%s", how, code, stdout, stderr)
		}
	}
	r.crash()
	cmd := command(t, "services", "--etcd", r.etcd)
	_, stderr, code := completed(t, cmd)
	if code != failed {
		t.Errorf("without a registry: exit code %d", code)
	}
	checkOneLine(t, stderr, r.etcd, "is rackdns standalone running")
}

// A disk that is full ends the registry and not DNS, which says so; when there
// is space again, the registry is back.
func TestRegistryDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	r := newRack(t, nil, "--docker", "off")
	r.use(filepath.Join(disk, "data"))
	r.start()
	register(t, r, "shop", 3)
	name := r.service("web", "shop")
	three := func() error { return resolvesTo(r.dns, name, "10.1.0.0", "10.1.0.1", "10.1.0.2") }
	eventually(t, "three instances", three)

	stop := keepAsking(t, "all three", three)
	fillUp(t, disk)
	eventually(t, "the registry ends", func() error {
		large := command(t, "resources", "create", "oracle", "--rack", r.name, "--etcd", r.etcd)
		large.Env = append(large.Env, "RACKDNS_URL=oracle://h:1521/"+strings.Repeat("x", 60_000))
		completed(t, large)
		return r.says("the registry has ended.*no space left on device", 1)
	})
	throughout(t, 5*time.Second, "DNS answers", func() error {
		if !r.running() {
			return errors.New("standalone ended")
		}
		return three()
	})
	if err := os.Remove(filepath.Join(disk, "fill")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the registry is back", func() error { return r.says("the registry is back", 1) })
	register(t, r, "other", 1)
	eventually(t, "what is new", func() error {
		return resolvesTo(r.dns, r.service("web", "other"), "10.1.0.0")
	})
	stop()
}

// Without a registry and without a picture of it there is nothing to answer
// from, which is said in a line. With one the registry is awaited.
func TestRegistryDiskFullAtStart(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	r := newRack(t, nil, "--docker", "off")
	r.use(filepath.Join(disk, "data"))
	// A picture, as far as the start looks.
	state := filepath.Join(r.data, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	fillUp(t, disk)
	_, stderr, code := completed(t, command(t, r.args...))
	if code != failed {
		t.Errorf("exit code %d, want %d", code, failed)
	}
	checkOneLine(t, stderr, "--data", r.data, "no space left on device")

	if err := os.WriteFile(filepath.Join(state, r.name+index.PictureSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.process = launch(t, r.args...)
	eventually(t, "DNS without a registry", func() error {
		_, err := ask(r.dns, "udp", r.zone, dns.TypeSOA)
		return errors.Join(err, r.says("the registry has ended.*no space left on device", 1))
	})
	if err := os.Remove(filepath.Join(disk, "fill")); err != nil {
		t.Fatal(err)
	}
	ready(t, r.process, r.dns, r.zone)
}

// smallDisk is a file system of some megabytes, which goes with the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	disk := shortDir(t)
	err := unix.Mount("none", disk, "tmpfs", 0, "size=48m")
	demand(t, err == nil, "can't mount a file system: %v", err)
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", disk, err)
		}
	})
	return disk
}

// use has the rack keep its data elsewhere. The last of two flags counts.
func (r *rack) use(data string) {
	r.data, r.etcd = data, "unix://"+filepath.Join(data, "etcd.sock")
	r.args = append(r.args, "--data", data)
}

// fillUp takes all the space that there is, in a file named fill.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// addressSpace is what standalone starts in, in bytes. Go alone wants to reserve
// more than half of it, for the tables of its own memory.
const addressSpace = 1536 << 20

// A limit of address space, as small hosts have, is kept.
func TestAddressSpace(t *testing.T) {
	t.Parallel()
	needTool(t, "prlimit")
	static, err := staticBinary() // the race detector takes terabytes
	if err != nil {
		t.Fatal(err)
	}
	r := newRack(t, nil, "--docker", "off")
	cmd := command(t)
	cmd.Path, err = exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append([]string{"prlimit", fmt.Sprint("--as=", addressSpace), static}, r.args...)
	r.process = launchCommand(t, cmd)
	ready(t, r.process, r.dns, r.zone)
	register(t, r, "shop", 1)
	eventually(t, "an instance", func() error {
		return resolvesTo(r.dns, r.service("web", "shop"), "10.1.0.0")
	})
}

// Where etcd can't run for want of descriptors, that is what is said.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	needTool(t, "prlimit")
	static, err := staticBinary()
	if err != nil {
		t.Fatal(err)
	}
	r := newRack(t, nil, "--docker", "off")
	cmd := command(t)
	cmd.Path, err = exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append([]string{"prlimit", "--nofile=100:100", static}, r.args...)
	_, stderr, code := completed(t, cmd)
	if code != failed {
		t.Errorf("exit code %d, want %d", code, failed)
	}
	checkOneLine(t, stderr, r.data, "file descriptor limit")
	if _, err := net.Dial("unix", r.socket()); err == nil {
		t.Error("the registry runs")
	}
}
