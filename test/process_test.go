package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running rackdns.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *output
	exited chan struct{} // closed after the process has ended
}

// output collects what a process prints and can be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command prepares the program under test in an environment without settings
// of the developer's.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = t.TempDir()
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "RACKDNS_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	// The race detector makes a process linger for a second at its end. And it
	// takes several times the heap, which a server lets grow before it collects:
	// by Go's own rule a leak is to be seen within minutes.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=50", "GOGC=100")
	return cmd
}

// launch starts a process and sees to it that it ends with the test.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchCommand(t, command(t, args...))
}

func launchCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: new(output), exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	// The kernel ends the process if the tests die without cleaning up. It
	// takes the death of the thread that started it for that, so a goroutine
	// keeps the thread until the process is gone.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the result is in cmd.ProcessState
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %v: %v", cmd.Args, err)
	}
	t.Cleanup(p.end)
	return p
}

// end is the process's clean-up: it must not outlive the test, and neither
// hang nor race on its way out.
func (p *process) end() {
	if p.running() {
		p.signal(syscall.SIGTERM)
		if err := p.wait(); err != nil {
			p.t.Errorf("after SIGTERM: %v", err)
			p.signal(syscall.SIGKILL)
			<-p.exited
		}
	}
	if strings.Contains(p.out.String(), "WARNING: DATA RACE") {
		p.t.Error("the race detector found something")
	}
	if p.t.Failed() {
		p.t.Logf("%s:\n%s", strings.Join(p.cmd.Args, " "), p.out)
	}
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("sending %v to %d: %v", sig, p.cmd.Process.Pid, err)
	}
}

// wait waits for a process to end that has no more to do.
func (p *process) wait() error { return p.waitFor(soon) }

func (p *process) waitFor(limit time.Duration) error {
	begin := time.Now()
	select {
	case <-p.exited:
		if took := time.Since(begin); took > slow {
			p.t.Logf("%s: took %v to end", p.cmd.Args[1], took.Round(time.Millisecond))
		}
		return nil
	case <-time.After(limit):
		return fmt.Errorf("process %d still runs after %v", p.cmd.Process.Pid, limit)
	}
}

// stop asks the process to end and demands that it does so cleanly.
func (p *process) stop(sig syscall.Signal) {
	p.t.Helper()
	p.signal(sig)
	if err := p.wait(); err != nil {
		p.t.Fatalf("after %v: %v", sig, err)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("after %v: %v, want exit code 0", sig, p.cmd.ProcessState)
	}
}

// crash ends the process without giving it a chance to do anything.
func (p *process) crash() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// completed runs the program to its end.
func completed(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&errOut)
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %v: %v", cmd.Args, err)
	}
	go func() {
		_ = cmd.Wait() // the result is in cmd.ProcessState
		close(p.exited)
	}()
	if err := p.waitFor(completion); err != nil {
		p.crash()
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &out, &errOut)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}
