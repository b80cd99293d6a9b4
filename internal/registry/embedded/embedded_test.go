package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// patience is how long anything may take that is certain to happen.
const patience = 120 * time.Second

// role makes the test's program another one: the child, or a parent that can be
// killed.
const role = "RACKDNS_EMBEDDED_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "child":
		if err := RunChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return
	case "parent":
		r, err := Start(context.Background(), Config{Dir: os.Args[1]}, options(slog.DiscardHandler))
		if err != nil {
			panic(err)
		}
		fmt.Println(r.PID())
		select {}
	}
	goleak.VerifyTestMain(m)
}

func options(log slog.Handler) Options {
	return Options{
		Command: func() *exec.Cmd {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), role+"=child", "GORACE=atexit_sleep_ms=50")
			return cmd
		},
		Log: slog.New(log),
	}
}

// record is a log that can be read.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// with returns the lines that contain what.
func (r *record) with(what string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.b.String()) {
		if strings.Contains(line, what) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// What the log says of a registry that ends, and of one that is back.
const (
	ended = "the registry has ended"
	back  = "the registry is back"
)

// shortDir is a directory for sockets, whose paths must be shorter than
// t.TempDir's often are.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rackdns-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start starts a registry, which ends with the test.
func start(t *testing.T, cfg Config, insist bool) (*Registry, *record) {
	t.Helper()
	log := &record{}
	opts := options(slog.NewTextHandler(log, nil))
	opts.Insist = insist
	r, err := Start(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, r) })
	return r, log
}

func closed(t *testing.T, r *Registry) {
	t.Helper()
	select {
	case <-r.done:
		return // by the test itself
	default:
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func dial(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger, cfg.DialTimeout = zap.NewNop(), 5*time.Second
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func client(t *testing.T, r *Registry) *clientv3.Client {
	t.Helper()
	return dial(t, clientv3.Config{Endpoints: []string{r.Endpoint()}})
}

func put(c *clientv3.Client, key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := c.Put(ctx, key, value)
	return err
}

func get(c *clientv3.Client, key string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := c.Get(ctx, key)
	if err != nil || len(r.Kvs) == 0 {
		return "", errors.Join(err, fmt.Errorf("no key %s", key))
	}
	return string(r.Kvs[0].Value), nil
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %s: %v", what, patience, err)
}

// A child that is killed is started again, with what it knew, and each of both
// is one line.
func TestKilled(t *testing.T) {
	r, log := start(t, Config{Dir: shortDir(t)}, false)
	c := client(t, r)
	if err := put(c, "a", "1"); err != nil {
		t.Fatal(err)
	}
	first := r.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another child", func() error {
		if pid := r.PID(); pid == 0 || pid == first {
			return fmt.Errorf("process %d", pid)
		}
		return nil
	})
	eventually(t, "what was written", func() error { _, err := get(c, "a"); return err })
	eventually(t, "a line about both", func() error {
		if e, b := log.with(ended), log.with(back); len(e) != 1 || len(b) != 1 || !strings.Contains(e[0], "killed") {
			return fmt.Errorf("%q %q", e, b)
		}
		return nil
	})
	// Terminals and service managers send these to all processes.
	second := r.PID()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(second, sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(c, "a", "2"); err != nil || r.PID() != second {
		t.Errorf("after signals: %v, process %d, want %d", err, r.PID(), second)
	}
	if group, err := syscall.Getpgid(second); err != nil || group != second {
		t.Errorf("process group %d, %v, want its own, %d", group, err, second)
	}
	closed(t, r)
	if _, err := os.Lstat(r.cfg.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the end: %v", err)
	}
}

// A child ends with its parent, however that ends, and another one can have the
// directory right away.
func TestParentKilled(t *testing.T) {
	dir := shortDir(t)
	parent := exec.Command("/proc/self/exe", dir)
	parent.Env = append(os.Environ(), role+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscan(bufio.NewReader(out), &child); err != nil || child == 0 {
		_ = parent.Process.Kill()
		t.Fatalf("process %d, %v", child, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	r, _ := start(t, Config{Dir: dir}, false)
	eventually(t, "the first child is gone", func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
		if err == nil && !bytes.Contains(status, []byte("State:\tZ")) { // for whoever inherits it
			return fmt.Errorf("it runs: %s", status)
		}
		return nil
	})
	if err := put(client(t, r), "a", "1"); err != nil {
		t.Error(err)
	}
}

// While one has the directory, no other does.
func TestLocked(t *testing.T) {
	r, _ := start(t, Config{Dir: shortDir(t)}, false)
	_, err := Start(t.Context(), Config{Dir: r.cfg.Dir}, options(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another rackdns (process %d)", os.Getpid())) {
		t.Error(err)
	}
	if _, err := get(client(t, r), "a"); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("the first one: %v", err)
	}
}

// Nothing but one socket is listened to, and it is nobody else's. What speaks
// HTTP there is not the registry.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(shortDir(t), "data")
	old := syscall.Umask(0)
	r, _ := start(t, Config{Dir: dir}, false)
	syscall.Umask(old)
	for path, want := range map[string]os.FileMode{
		dir: os.ModeDir | 0o700, r.cfg.Socket: os.ModeSocket | 0o600, filepath.Join(dir, "etcd"): os.ModeDir | 0o700,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if n := tcpSockets(t, r.PID()); n != 0 {
		t.Errorf("%d TCP sockets", n)
	}
	web := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", r.cfg.Socket)
		},
		DisableKeepAlives: true,
	}}
	for url, want := range map[string]int{
		"http://localhost/v3/kv/range":    http.StatusNotFound,
		"http://evil.example/v3/kv/range": http.StatusMisdirectedRequest,
		"http://evil.example/version":     http.StatusMisdirectedRequest,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"key":"AA==","range_end":"AA=="}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/plain")
		req.Header.Set("Origin", "http://evil.example")
		reply, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		if allowed := reply.Header.Get("Access-Control-Allow-Origin"); reply.StatusCode != want || allowed != "" {
			t.Errorf("%s: %s, allowed for %q; want %d", url, reply.Status, allowed, want)
		}
	}
}

// tcpSockets counts those of a process, by the kernel's tables.
func tcpSockets(t *testing.T, pid int) int {
	t.Helper()
	var table []byte
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		table = append(table, b...)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no descriptors of process %d: %v", pid, err)
	}
	n := 0
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		inode, isSocket := strings.CutPrefix(strings.TrimSuffix(to, "]"), "socket:[")
		if err == nil && isSocket && strings.Contains(string(table), " "+inode+" ") {
			n++
		}
	}
	return n
}

// An empty rack is small on disk.
func TestSmall(t *testing.T) {
	dir := shortDir(t)
	r, _ := start(t, Config{Dir: dir}, false)
	if err := put(client(t, r), "a", "1"); err != nil {
		t.Fatal(err)
	}
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil || size == 0 || size > 20_000_000 {
		t.Errorf("%d bytes, %v, want at most 20 MB", size, err)
	}
}

// small mounts a file system of a few megabytes, which goes with the test.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := shortDir(t)
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("can't mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes what space there is; the returned function gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// A full disk ends the registry, not its parent, and the registry is back when
// there is space.
func TestDiskFull(t *testing.T) {
	disk := small(t, "40m")
	r, log := start(t, Config{Dir: filepath.Join(disk, "data")}, false)
	c := client(t, r)
	if err := put(c, "first", "1"); err != nil {
		t.Fatal(err)
	}
	free := fill(t, disk)
	value := strings.Repeat("x", 1<<18)
	eventually(t, "the end of the registry", func() error {
		if err := put(c, "more", value); err == nil {
			return errors.New("a write was taken")
		}
		if lines := log.with(ended); len(lines) == 0 || !strings.Contains(lines[0], "no space left on device") {
			return fmt.Errorf("%q", lines)
		}
		return nil
	})
	free()
	eventually(t, "the registry is back", func() error { return put(c, "after", "1") })
	if value, err := get(c, "first"); err != nil || value != "1" {
		t.Errorf("what was written first: %q, %v", value, err)
	}
	if lines := log.with("level=WARN msg=\"etcd:"); len(lines) > 1 {
		t.Errorf("%d lines besides: %q", len(lines), lines)
	}
}

// Where there is no space from the beginning, that is the error; or, where
// there is something to answer from, it is tried again.
func TestDiskFullAtStart(t *testing.T) {
	disk := small(t, "40m")
	free := fill(t, disk)
	dir := filepath.Join(disk, "data")
	_, err := Start(t.Context(), Config{Dir: dir}, options(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("start: %v", err)
	}
	r, log := start(t, Config{Dir: dir}, true)
	if pid, lines := r.PID(), log.with(ended); pid != 0 || len(lines) != 1 {
		t.Errorf("process %d, %q", pid, lines)
	}
	free()
	eventually(t, "the registry is there", func() error { return put(client(t, r), "a", "1") })
	eventually(t, "a line about both", func() error {
		if e, b := log.with(ended), log.with(back); len(e) != 1 || len(b) != 1 {
			return fmt.Errorf("%q %q", e, b)
		}
		return nil
	})
}

// When there are few descriptors, etcd ends itself.
func TestFewDescriptors(t *testing.T) {
	opts := options(slog.DiscardHandler)
	command := opts.Command
	opts.Command = func() *exec.Cmd {
		cmd := command()
		cmd.Args = []string{"prlimit", "--nofile=100:100", "/proc/self/exe"}
		if path, err := exec.LookPath("prlimit"); err == nil {
			cmd.Path = path
			exe, err := os.Executable()
			if err == nil {
				cmd.Args[2] = exe
			}
		}
		return cmd
	}
	dir := shortDir(t)
	_, err := Start(t.Context(), Config{Dir: dir}, opts)
	if err == nil || !strings.Contains(err.Error(), "file descriptor limit of etcd process is too low") || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}

// A quota that was reached once is no end of all writes.
func TestQuotaReached(t *testing.T) {
	r, _ := start(t, Config{Dir: shortDir(t)}, false)
	c := client(t, r)
	if err := put(c, "a", "1"); err != nil {
		t.Fatal(err)
	}
	members, err := c.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Alarm(t.Context(), &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: members.Members[0].GetID(), Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(c, "a", "2"); err == nil {
		t.Error("with the alarm a write was taken")
	}
	eventually(t, "writes are taken again", func() error { return put(c, "a", "3") })
}

// The child is no command for people.
func TestByHand(t *testing.T) {
	for name, stdin := range map[string]io.Reader{"nothing": nil, "something else": strings.NewReader("{}\n")} {
		cmd := options(slog.DiscardHandler).Command()
		cmd.Stdin = stdin
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not by hand") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

func TestLastWords(t *testing.T) {
	exit := exec.Command("sh", "-c", "kill -9 $$")
	_ = exit.Run() // killed
	etcd := func(level, text, err string) string {
		b, e := json.Marshal(entry{level, text, err})
		if e != nil {
			t.Fatal(e)
		}
		return string(b) + "\n"
	}
	tests := []struct {
		name, stderr string
		said         message
		want         string
		heeded       int
		passed       string
		trace        bool
	}{
		{"nothing", "", message{}, "etcd in /d: killed, by hand or by the kernel for want of memory", 0, "", false},
		{"told", etcd("fatal", "a", "b"), message{Error: "etcd in /d: c"}, "etcd in /d: c", 0, "", false},
		{"address", "", message{Error: "x", InUse: "1:2"}, "address 1:2 is in use", 0, "", false},
		{"fatal", etcd("error", "first", "") + etcd("fatal", "failed to commit tx", "no space"), message{}, "etcd in /d: failed to commit tx: no space", 1, "", false},
		{"panic of etcd's", etcd("panic", "bad", "") + "panic: bad\n\ngoroutine 1 [running]:\n", message{}, "etcd in /d: bad", 0, "", true},
		{"panic", "note\npanic: runtime error\n\ngoroutine 1 [running]:\nx\n", message{}, "etcd in /d: panic: runtime error", 0, "note", true},
		{"memory", "fatal error: runtime: out of memory\n", message{}, "etcd in /d: fatal error: runtime: out of memory", 0, "", true},
		{"race", "WARNING: DATA RACE\n{}", message{}, "etcd in /d: killed, by hand or by the kernel for want of memory", 0, "WARNING: DATA RACE{}", false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var w lastWords
			var heeded int
			var passed string
			w.listen(strings.NewReader(tc.stderr), func(entry) { heeded++ }, func(line string) { passed += line })
			if got := w.cause("/d", tc.said, exit.ProcessState).Error(); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			path := filepath.Join(t.TempDir(), "trace")
			if heeded != tc.heeded || passed != tc.passed || (w.save(path) == path) != tc.trace {
				t.Errorf("heeded %d, passed %q, trace %q", heeded, passed, w.trace)
			}
		})
	}
}
