package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
)

func TestInCgroup(t *testing.T) {
	other := strings.Repeat("0123", 16)
	tests := []struct {
		name    string
		cgroups string
		id      string
		want    bool
	}{
		{"v1", "12:pids:/docker/" + testID + "\n1:name=systemd:/docker/" + testID + "\n0::/system.slice/containerd.service\n", testID, true},
		{"v1, in one hierarchy only", "3:pids:/\n2:memory:/docker/" + testID + "\n", testID, true},
		{"v1, two controllers", "4:cpu,cpuacct:/docker/" + testID + "\n", testID, true},
		{"v2", "0::/docker/" + testID + "\n", testID, true},
		{"no line's end", "0::/docker/" + testID, testID, true},
		{"systemd", "0::/system.slice/docker-" + testID + ".scope\n", testID, true},
		{"systemd in the container", "0::/system.slice/docker-" + testID + ".scope/init.scope\n", testID, true},
		{"own parent", "0::/batch.slice/docker-" + testID + ".scope\n", testID, true},
		{"seen from another container's cgroup", "0::/../" + testID + "\n", testID, true},
		{"seen from deeper down", "0::/../../../system.slice/docker-" + testID + ".scope\n", testID, true},
		{"pod", "11:cpu:/kubepods/burstable/podd6d1b2a0-5f1c-4d3e-8a90-aaaaaaaaaaaa/" + testID + "\n", testID, true},
		{"pod with systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podd6d1.slice/cri-containerd-" + testID + ".scope\n", testID, true},
		{"colon in the path", "0::/a:b/" + testID + "\n", testID, true},
		{"container in the container", "0::/docker/" + testID + "/docker/" + other + "\n", other, true},

		{"another container's", "0::/docker/" + other + "\n", testID, false},
		{"another container's, systemd", "0::/system.slice/docker-" + other + ".scope\n", testID, false},
		{"none", "0::/user.slice/user-0.slice/session-1.scope\n", testID, false},
		{"root", "0::/\n", testID, false},
		{"empty", "", testID, false},
		{"short ID", "0::/docker/" + shortID(testID) + "\n", shortID(testID), false},
		{"short ID in the path", "0::/docker/" + shortID(testID) + "\n", testID, false},
		{"no ID", "0::/docker/\n", "", false},
		{"begins with it", "0::/docker/" + testID + "0\n", testID, false},
		{"ends with it", "0::/docker/0" + testID + "\n", testID, false},
		{"not a scope", "0::/docker-" + testID + ".slice\n", testID, false},
		{"a controller's name", "1:name=" + testID + ":/\n", testID, false},
		{"it was removed", "0::/docker/" + testID + " (deleted)\n", testID, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := inCgroup(tt.cgroups, tt.id); got != tt.want {
				t.Errorf("%q is of %s: %t, want %t", tt.cgroups, tt.id, got, tt.want)
			}
		})
	}
}

func TestIsFirst(t *testing.T) {
	tests := []struct {
		name   string
		status string
		mode   container.PidMode
		want   bool
	}{
		{"first", "Name:\tworker\nPid:\t4711\nNSpid:\t4711\t1\nNSpgid:\t4711\t1\n", "", true},
		{"another one of the container", "NSpid:\t4711\t7\n", "", false},
		{"first of an engine in a namespace of its own", "NSpid:\t4711\t230\t1\n", "", false},
		{"of the host", "NSpid:\t4711\n", "", false},
		{"seen from within the container", "NSpid:\t1\n", "", false},
		{"host's namespace", "NSpid:\t4711\n", "host", true},
		{"host's, but not of this one", "NSpid:\t4711\t230\n", "host", false},
		{"another container's namespace", "NSpid:\t4711\t7\n", "container:db", true},
		{"another container's, but not of this host", "NSpid:\t4711\t230\t7\n", "container:db", false},
		{"a kernel that doesn't tell", "Name:\tworker\nPid:\t4711\n", "", false},
		{"empty", "NSpid:\n", "host", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := isFirst(tt.status, tt.mode); got != tt.want {
				t.Errorf("%q is the first: %t, want %t", tt.status, got, tt.want)
			}
		})
	}
}

// child starts a process that does nothing, and returns what kills it.
func child(t *testing.T) (pid int, kill func()) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	return cmd.Process.Pid, kill
}

func TestOpenInit(t *testing.T) {
	stranger, _ := child(t)
	dead, kill := child(t)
	kill()
	tests := []struct {
		name string
		f    *facts
		want error
	}{
		{"none", plain(nil), errIncomplete},
		{"no start", plain(func(f *facts) { f.pid, f.started = stranger, time.Time{} }), errIncomplete},
		{"stranger", plain(func(f *facts) { f.pid = stranger }), errNotItsInit},
		{"stranger on the host", plain(func(f *facts) { f.pid, f.pidMode = stranger, "host" }), errNotItsInit},
		{"dead", plain(func(f *facts) { f.pid = dead }), unix.ESRCH},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := openInit(tt.f); !errors.Is(err, tt.want) || p != nil {
				t.Errorf("%+v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

// A process whose number was that of a container's says nothing of the
// container, if it is not there any more when that was read.
func TestCheckInit(t *testing.T) {
	pid, kill := child(t)
	p, err := openProcess(pid, at(0))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	proc := t.TempDir()
	dir := filepath.Join(proc, strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		file, content string
		kill          bool
		want          error
	}{
		{"cgroup", "0::/docker/" + testID + "\n", false, os.ErrNotExist},
		{"status", "NSpid:\t4711\t2\n", false, errNotItsInit},
		{"status", "NSpid:\t4711\t1\n", false, nil},
		{"cgroup", "0::/\n", false, errNotItsInit},
		{"cgroup", "0::/docker/" + testID + "\n", true, errEnded},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.file), []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if step.kill {
			kill()
		}
		if err := p.check(proc, plain(nil)); !errors.Is(err, step.want) {
			t.Errorf("%s is %q: %v, want %v", step.file, step.content, err, step.want)
		}
	}
}

func TestWaitForProcess(t *testing.T) {
	pid, kill := child(t)
	p, err := openProcess(pid, at(0))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.wait() }()
	select {
	case err := <-done:
		t.Fatalf("it runs, but wait = %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	kill()
	if err := <-done; err != nil {
		t.Errorf("wait = %v, though it has ended", err)
	}
	p.stop()

	pid, _ = child(t)
	for _, before := range []bool{true, false} {
		if p, err = openProcess(pid, at(0)); err != nil {
			t.Fatal(err)
		}
		if before {
			p.stop()
		}
		go func() { done <- p.wait() }()
		p.stop()
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wait = %v, though nothing but stop ended it", err)
		}
	}
}
