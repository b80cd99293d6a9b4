package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
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
		skipOrFail(t, err.Error())
	}
	runtime := filepath.Join(d.dir, "patient")
	if err := os.WriteFile(runtime, fmt.Appendf(nil, patient, d.dir, runc), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write(t, "dockerd.json", fmt.Sprintf(`{"runtimes": {"patient": {"path": %q}}}`, runtime))
	d.down(t, unix.SIGTERM)
	d.up(t)
	a, rec := d.agent(t, nil)

	run := func(name string) string {
		id := d.run(t, spec{name: name, host: container.HostConfig{Runtime: "patient"}})
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

	killed := run("killed")
	pid := d.process(t, killed)
	done := killing(killed, "KILL")
	waitFor(t, rec, killed, "kill", silent)
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("its process is dead already: %v", err)
	}
	d.write(t, shortID(killed), "")
	<-done
	waitFor(t, rec, killed, "end", gone)
	wantStory(t, rec, killed, "serving", "draining", "remove")

	spared := run("spared")
	// By SIGKILL the engine would do itself what the runtime doesn't.
	done = killing(spared, "TERM")
	waitFor(t, rec, spared, "kill that fails", silent)
	d.write(t, shortID(spared), "exit 1\n")
	<-done
	waitFor(t, rec, spared, "kill that has failed", serving)
	wantStory(t, rec, spared, "serving", "draining", "serving")
	d.write(t, shortID(spared), "")
}

// Whatever comes from the kernel, no file stays open.
func TestStartsIn(t *testing.T) {
	one := func(length, fd, pid int) []byte {
		b := make([]byte, unix.FAN_EVENT_METADATA_LEN)
		put := func(at, v int) { copy(b[at:], []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}) }
		put(0, length)
		put(16, fd)
		put(20, pid)
		return b
	}
	open := func() int {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fds[1])
		return fds[0]
	}
	a, b := open(), open()
	length := unix.FAN_EVENT_METADATA_LEN
	events := append(one(length, a, 7), one(length, -1, 0)...) // the second: the queue was full
	events = append(events, one(length, b, 8)...)
	if got := fmt.Sprint(startsIn(events)); got != "[7 8]" {
		t.Errorf("starts of %s, want [7 8]", got)
	}
	for _, fd := range []int{a, b} {
		if err := unix.Close(fd); err == nil {
			t.Errorf("file %d is still open", fd)
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
