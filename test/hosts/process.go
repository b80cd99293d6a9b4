package hosts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
	"github.com/rackdns/rackdns/test/program"
)

// build puts the program under test into the lab's directory: by that the janitor
// knows what is left of it.
func (l *Lab) build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(l.dir, "rackdns")
	if err := program.Build(program.Rackdns, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// Process is a program that runs at a client.
type Process struct {
	*os.Process
	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what the program says.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log is what the program has said.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *Process) says(what string) error {
	if !strings.Contains(p.Log(), what) {
		return fmt.Errorf("nothing of %q", what)
	}
	return nil
}

// Start starts a program at a client, until the test ends, without what is set for
// rackdns and docker in the environment of the tests.
func (c *Client) Start(t *testing.T, program string, args ...string) *Process {
	t.Helper()
	p := new(Process)
	cmd := c.Command(program, args...)
	cmd.Stdout, cmd.Stderr = p, p
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "RACKDNS_") && !strings.HasPrefix(kv, "DOCKER_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Process = cmd.Process
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGCONT)
		_ = p.Signal(syscall.SIGTERM)
		force := time.AfterFunc(dockertest.CallLimit, func() { _ = p.Kill() })
		defer force.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v at %s: %v", args, c.Name, err)
		}
		if t.Failed() {
			t.Logf("%v at %s:\n%s", args, c.Name, p.Log())
		}
	})
	return p
}

// soon waits for what takes a moment.
func soon(t *testing.T, what string, check func() error) {
	t.Helper()
	begin := time.Now()
	// What takes long is asked for less often.
	for ; ; time.Sleep(min(max(time.Since(begin)/10, 10*time.Millisecond), 250*time.Millisecond)) {
		err := check()
		if err == nil {
			return
		}
		if time.Since(begin) > dockertest.CallLimit {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
