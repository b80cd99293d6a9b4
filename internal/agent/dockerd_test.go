package agent

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// daemon is a Docker Engine of a test's own, which it may hurt.
type daemon struct {
	*dockertest.Engine
	*rig
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	docker(t)
	e := dockertest.New(t)
	r, err := newRig(e.Host())
	if err != nil {
		t.Fatalf("private Docker Engine: %v", err)
	}
	t.Cleanup(func() { _ = r.cli.Close() })
	return &daemon{e, r}
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

	d.Down(t, sig)
	d.endProcess(t, c.State.Pid)
	for _, id := range ids[1:] {
		if !serving(rec.get(id)) {
			t.Errorf("the engine's end took a name: %+v", rec.get(id))
		}
	}
	d.Up(t)
	within(t, patience, "agreement after the engine's return", func() string { return d.agrees(t, rec) })
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
