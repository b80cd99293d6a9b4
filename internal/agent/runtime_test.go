package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// patient is a runtime that is slow to kill: it waits until there is a file of
// the container's short ID, and does what stands in it. That is what all
// runtimes are, for some milliseconds.
const patient = `#!/bin/sh
for arg; do
	if [ "$arg" = kill ]; then
		for id; do [ ${#id} = 64 ] && break; done
		go=%[1]s/$(printf %%.12s "$id")
		for n in $(seq 200); do [ -e "$go" ] && break; sleep 0.1; done
		[ ! -e "$go" ] || . "$go"
	fi
done
exec %[2]s "$@"
`

// An instance that is about to be killed drains while it still serves: before
// its process has got the signal.
func TestDrainsBeforeTheSignal(t *testing.T) {
	t.Parallel()
	d := newDaemon(t)
	runc, err := exec.LookPath("runc")
	if err != nil {
		dockertest.SkipOrFail(t, err.Error())
	}
	runtime := d.Path("patient")
	if err := os.WriteFile(runtime, fmt.Appendf(nil, patient, filepath.Dir(runtime), runc), 0o700); err != nil {
		t.Fatal(err)
	}
	d.Configure(t, fmt.Sprintf(`{"runtimes": {"patient": {"path": %q}}}`, runtime))
	d.Down(t, unix.SIGTERM)
	d.Up(t)
	a, rec := d.agent(t, nil)

	run := func(name string) string {
		id := d.run(t, spec{name: name, Config: container.Config{StopTimeout: new(5)}, host: container.HostConfig{Runtime: "patient"}})
		waitFor(t, rec, id, "start", serving)
		a.watched(t, id)
		return id
	}
	// killing has the engine kill a container in the background.
	killing := func(id, signal string) (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			// It fails where the runtime does.
			_ = d.cli.ContainerKill(t.Context(), id, signal)
		}()
		return done
	}

	killed, spared := run("killed"), run("spared")
	// Anybody can say so. It is heard before what comes next.
	liar := exec.Command(runc, "--root", d.Path("nowhere"), "kill", spared, "9")
	if out, err := liar.CombinedOutput(); err == nil {
		t.Errorf("a runtime that knows nothing of the container has killed it: %s", out)
	}
	pid := d.process(t, killed)
	done := killing(killed, "KILL")
	waitFor(t, rec, killed, "kill", silent)
	wantStory(t, rec, spared, "serving")
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("its process is dead already: %v", err)
	}
	d.Write(t, shortID(killed), "")
	<-done
	waitFor(t, rec, killed, "end", gone)
	wantStory(t, rec, killed, "serving", "draining", "remove")

	// By SIGKILL the engine would do itself what the runtime doesn't.
	done = killing(spared, "TERM")
	waitFor(t, rec, spared, "kill that fails", silent)
	d.Write(t, shortID(spared), "exit 1\n")
	<-done
	waitFor(t, rec, spared, "kill that has failed", serving)
	wantStory(t, rec, spared, "serving", "draining", "serving")
	d.Write(t, shortID(spared), "")
}

// Whatever comes from the kernel, no file stays open.
func TestStartsIn(t *testing.T) {
	one := func(length, fd, pid int) []byte {
		b := make([]byte, unix.FAN_EVENT_METADATA_LEN)
		put := func(at, v int) { binary.NativeEndian.PutUint32(b[at:], uint32(v)) }
		put(0, length)
		put(16, fd)
		put(20, pid)
		return b
	}
	// A file is open for as long as a pipe can be written to whose end it is.
	pipe := func() (end, other int) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fds[1]) })
		return fds[0], fds[1]
	}
	a, toA := pipe()
	b, toB := pipe()
	length := unix.FAN_EVENT_METADATA_LEN
	events := append(one(length, a, 7), one(length, -1, 0)...) // the second: the queue was full
	events = append(events, one(length, b, 8)...)
	if got := fmt.Sprint(startsIn(events)); got != "[7 8]" {
		t.Errorf("starts of %s, want [7 8]", got)
	}
	for _, fd := range []int{toA, toB} {
		if _, err := unix.Write(fd, []byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("the file of an event is still open: %v", err)
		}
	}
	for _, odd := range []int{0, 1, length + 1} {
		if got := fmt.Sprint(startsIn(one(odd, -1, 7))); got != "[7]" {
			t.Errorf("a length of %d: %s", odd, got)
		}
	}
	if got := startsIn([]byte(strings.Repeat("x", 10))); got != nil {
		t.Errorf("a piece of an event: %v", got)
	}
}

func TestOfShim(t *testing.T) {
	const shim, engine, shell = "/usr/bin/containerd-shim-runc-v2", "/usr/sbin/dockerd", "/bin/sh"
	status := func(parent int, uid, numbers string) string {
		return fmt.Sprintf("Name:\trunc\nPPid:\t%d\nUid:\t%s\nGid:\t0\t0\t0\t0\nNSpid:\t%s\n", parent, uid, numbers)
	}
	const root, nobody = "0\t0\t0\t0", "65534\t65534\t65534\t65534"
	for _, tt := range []struct {
		name, exe, parent, own string
		want                   bool
	}{
		{"a shim's", shim, status(1, root, "7"), status(7, root, "8"), true},
		{"updated meanwhile", shim + " (deleted)", status(1, root, "7"), status(7, root, "8"), true},
		{"somebody's", shim, status(1, root, "7"), status(7, nobody, "8"), false},
		{"one that was root", shim, status(1, root, "7"), status(7, "0\t65534\t0\t0", "8"), false},
		{"in a container", shim, status(1, root, "7"), status(7, root, "8\t2"), false},
		{"a shell's", shell, status(1, root, "7"), status(7, root, "8"), false},
		{"the engine's", engine, status(1, root, "7"), status(7, root, "8"), false},
		{"of somebody's shim", shim, status(1, nobody, "7"), status(7, root, "8"), false},
		{"of a shim in a container", shim, status(1, root, "7\t2"), status(7, root, "8"), false},
		{"of none that is there", shim, "", status(7, root, "8"), false},
		{"gone", shim, status(1, root, "7"), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proc := t.TempDir()
			for pid, content := range map[string]string{"7": tt.parent, "8": tt.own} {
				if content == "" {
					continue
				}
				if err := os.Mkdir(filepath.Join(proc, pid), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(proc, pid, "status"), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(tt.exe, filepath.Join(proc, pid, "exe")); err != nil {
					t.Fatal(err)
				}
			}
			if got := ofShim(proc, 8); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
		})
	}
}

// An update puts another file in the place of a runtime, which engines need not
// notice.
func TestRuntimeIsUpdated(t *testing.T) {
	t.Parallel()
	w, err := newRuntimeWatch()
	if errors.Is(err, unix.EPERM) {
		dockertest.SkipOrFail(t, "it takes root")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	path := filepath.Join(t.TempDir(), "runtime")
	update := func() {
		if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	update()
	w.follow(&system.Info{Runtimes: map[string]system.RuntimeWithStatus{"x": {Runtime: system.Runtime{Path: path}}}})
	for range 2 {
		if n, err := w.refresh(); n != 1 || err != nil {
			t.Fatalf("%d runtimes, %v", n, err)
		}
		if err := exec.Command(path).Run(); err != nil {
			t.Fatal(err)
		}
		_ = w.file.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 4096)
		n, err := w.file.Read(buf)
		if err != nil {
			t.Fatalf("nothing is heard of a start: %v", err)
		}
		if pids := startsIn(buf[:n]); len(pids) == 0 {
			t.Errorf("no start in %v", buf[:n])
		}
		update()
	}
	_ = w.file.Close()
	if n, err := w.refresh(); n != 0 || err == nil {
		t.Errorf("%d runtimes of one that is closed, %v", n, err)
	}
}
