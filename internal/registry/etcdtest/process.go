package etcdtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Processes are an etcd cluster of some version, each member a process.
type Processes struct {
	t       testing.TB
	Members []*Process
}

// Process is one of its members.
type Process struct {
	t    testing.TB
	path string
	args []string
	cmd  *exec.Cmd
	// exited is closed when it has ended.
	exited chan struct{}
	log    string
	// Dir is its data directory.
	Dir string
	// Endpoint is the URL for its clients, the same after a restart.
	Endpoint string
}

// StartProcesses starts n members of version v, which end with the test
// however that ends. flags are etcd's, in addition to those that make it run.
func StartProcesses(t testing.TB, v Version, n int, flags ...string) *Processes {
	t.Helper()
	path := Binary(t, v)
	c := &Processes{t: t}
	var peers []string
	for i := range n {
		peers = append(peers, fmt.Sprintf("m%d=http://%s", i, FreeAddr(t)))
	}
	for i := range n {
		name, peer, _ := strings.Cut(peers[i], "=")
		dir := t.TempDir()
		m := &Process{t: t, path: path, log: filepath.Join(dir, "log"), Dir: filepath.Join(dir, "data"), Endpoint: "http://" + FreeAddr(t)}
		m.args = append([]string{
			"--name", name, "--data-dir", m.Dir,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(peers, ","),
			"--listen-client-urls", m.Endpoint, "--advertise-client-urls", m.Endpoint,
			"--logger", "zap", "--log-level", "error", "--heartbeat-interval", "50", "--election-timeout", "500",
			// The users of tests have passwords that nobody has to guess.
			"--bcrypt-cost", "4",
		}, flags...)
		c.Members = append(c.Members, m)
	}
	t.Cleanup(c.Kill)
	c.Start()
	return c
}

// Start starts those members that don't run, and waits until all serve.
func (c *Processes) Start() {
	c.t.Helper()
	for _, m := range c.Members {
		m.launch()
	}
	for _, m := range c.Members {
		m.await()
	}
}

// Kill ends all members at once, without a word to their clients.
func (c *Processes) Kill() {
	for _, m := range c.Members {
		m.Kill()
	}
}

// Wipe ends all members and takes away what they hold.
func (c *Processes) Wipe() {
	c.t.Helper()
	c.Kill()
	for _, m := range c.Members {
		if err := os.RemoveAll(m.Dir); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Endpoints returns the URLs of all members.
func (c *Processes) Endpoints() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	return all
}

// Client returns a client of the whole cluster, which ends with the test.
func (c *Processes) Client() *clientv3.Client {
	c.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Start starts a member that was stopped, and waits until it serves.
func (m *Process) Start() {
	m.t.Helper()
	m.launch()
	m.await()
}

func (m *Process) launch() {
	m.t.Helper()
	if m.cmd != nil {
		return
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	cmd, exited, started := exec.Command(m.path, m.args...), make(chan struct{}), make(chan error)
	cmd.Stdout, cmd.Stderr = log, log
	// 3.4 takes variables for flags, and objects to those that it doesn't know.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// The kernel ends it if the test dies without cleaning up. It takes the
	// death of the thread that started it for that, so a goroutine keeps the
	// thread until the process is gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		m.t.Fatalf("start etcd: %v", err)
	}
	m.cmd, m.exited = cmd, exited
}

// await waits until the member, and enough others, answer. Where etcd asks for
// a user, a refusal is an answer, too.
func (m *Process) await() {
	m.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		m.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		select {
		case <-m.exited:
			log, _ := os.ReadFile(m.log) // shown as far as there is one
			m.t.Fatalf("etcd ended: %s: %s", m.cmd.ProcessState, log)
		case <-ctx.Done():
			log, _ := os.ReadFile(m.log) // shown as far as there is one
			m.t.Fatalf("etcd does not become ready: %s", log)
		default:
		}
		try, stop := context.WithTimeout(ctx, time.Second)
		_, err := client.Get(try, "ready")
		stop()
		if err == nil || strings.Contains(err.Error(), "user name is empty") {
			return
		}
	}
}

// Kill ends the member as a power cut would.
func (m *Process) Kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.exited
	m.cmd = nil
}

// Pause stops the member where it is, and Resume lets it go on.
func (m *Process) Pause() { m.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (m *Process) Resume() { m.signal(syscall.SIGCONT) }

func (m *Process) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}
