package hosts

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace: a machine's, or a container's.
type namespace struct{ path string }

// do has f run inside, on a thread that does nothing else meanwhile. The sockets
// that f makes belong to the namespace for ever; whatever f starts, a goroutine
// or a lookup, may run outside.
func (n *namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := n.enter()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = f()
		// A thread that can't go home ends with this goroutine, which has it locked.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = unix.Close(home)
		done <- err
	}()
	return <-done
}

// enter moves the thread and returns where it was.
func (n *namespace) enter() (home int, err error) {
	home, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the thread's own network namespace: %w", err)
	}
	there, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Setns(there, unix.CLONE_NEWNET)
		_ = unix.Close(there)
	}
	if err != nil {
		_ = unix.Close(home)
		return -1, fmt.Errorf("enter the network namespace %s: %w", n.path, err)
	}
	return home, nil
}

// command is a program that runs inside.
func (n *namespace) command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + n.path, name}, args...)...)
}

// run runs a tool inside that has to succeed, and returns what it writes.
func (n *namespace) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := n.command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (n *namespace) ip(t *testing.T, args ...string) {
	t.Helper()
	n.run(t, "ip", args...)
}
