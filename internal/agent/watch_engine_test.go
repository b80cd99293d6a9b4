package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// deaf gives an agent an engine none of whose events arrive.
func deaf(a *Agent) {
	dial := a.engine.dial
	a.engine.dial = func() (engine, error) {
		e, err := dial()
		return quiet{e}, err
	}
}

// process returns a container's first process.
func (r *rig) process(t *testing.T, id string) int {
	t.Helper()
	c, err := r.cli.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c.State.Pid
}

// slay kills a process without a word to the engine.
func slay(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("process %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill process %d of a container: %v", pid, err)
	}
}

// No event tells of these ends, and no list comes.
func TestEndOfProcessOnEngine(t *testing.T) {
	r := docker(t)
	ids := map[string]string{
		"plain": r.run(t, spec{name: "ends-plain"}),
		"host's PID namespace": r.run(t, spec{name: "ends-host", host: container.HostConfig{
			PidMode: "host",
		}}),
		// It ends with the one whose namespace that is, if not before.
		"another's PID namespace": r.run(t, spec{name: "ends-joined", host: container.HostConfig{
			PidMode: container.PidMode("container:" + r.run(t, spec{name: "ends-joinable"})),
		}}),
	}
	stays := r.run(t, spec{name: "ends-not"})
	a, rec := r.unstarted(t, func(c *Config) { c.RelistInterval = time.Hour })
	deaf(a)
	startAgent(t, a)
	waitReady(t, a)
	for name, id := range ids {
		t.Run(name, func(t *testing.T) {
			pid := r.process(t, id)
			a.watched(t, id)
			before := time.Now()
			slay(t, pid)
			i := waitFor(t, rec, id, "end of the process", silent)
			if i.Observed.Before(before) || i.Observed.After(time.Now()) {
				t.Errorf("observed %s, which is not when it ended", i.Observed)
			}
			wantStory(t, rec, id, "serving", "draining")
		})
	}
	wantStory(t, rec, stays, "serving")
}

// watched waits until the agent watches a container's process.
func (a *Agent) watched(t *testing.T, id string) {
	t.Helper()
	eventually(t, "watch over the process", func() string {
		a.tracker.mu.Lock()
		defer a.tracker.mu.Unlock()
		if e := a.tracker.entries[id]; e == nil || e.init == nil {
			return "none"
		}
		return ""
	})
}

// With all its events and lists, the engine only confirms it.
func TestEndOfProcessAndEvents(t *testing.T) {
	r := docker(t)
	a, rec := r.agent(t, nil)
	joined := r.run(t, spec{name: "events-joined"})
	tests := []struct {
		name string
		spec spec
		end  func(t *testing.T, id string)
		want []string
	}{
		{"crash", spec{}, nil, []string{"serving", "draining", "remove"}},
		{"removed by itself", spec{host: container.HostConfig{AutoRemove: true}}, func(t *testing.T, id string) {
			t.Helper()
			slay(t, r.process(t, id))
			eventually(t, "removal", func() string {
				if _, err := r.cli.ContainerInspect(t.Context(), id); !cerrdefs.IsNotFound(err) {
					return fmt.Sprint(err)
				}
				return ""
			})
		}, []string{"serving", "draining", "remove"}},
		{
			"restarted by the engine", spec{host: container.HostConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways}}},
			nil, []string{"serving", "draining", "remove", "serving"},
		},
		{"paused", spec{}, func(t *testing.T, id string) {
			t.Helper()
			if err := r.cli.ContainerPause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			waitFor(t, rec, id, "pause", silent)
			r.kill(t, id, "SIGKILL")
		}, []string{"serving", "paused/", "draining", "remove"}},
		{
			"shares a network", spec{host: container.HostConfig{NetworkMode: container.NetworkMode("container:" + joined)}},
			func(t *testing.T, _ string) { t.Helper(); slay(t, r.process(t, joined)) }, []string{"serving", "remove"},
		},
	}
	for n, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.name = fmt.Sprint("events", n)
			id := r.run(t, tt.spec)
			waitFor(t, rec, id, "start", serving)
			a.watched(t, id)
			if tt.end == nil {
				slay(t, r.process(t, id))
			} else {
				tt.end(t, id)
			}
			want := strings.Join(tt.want, ", ")
			eventually(t, want, func() string {
				if got := strings.Join(story(rec, id), ", "); got != want {
					return got
				}
				return ""
			})
			if tt.want[len(tt.want)-1] == "serving" {
				// And the new run's process is watched like the old one's.
				a.watched(t, id)
				slay(t, r.process(t, id))
				waitFor(t, rec, id, "another end", silent)
			}
		})
	}
}

func TestProcessEndsWhileTheEngineIsAway(t *testing.T) {
	tests := []struct {
		name       string
		away, back func(t *testing.T, d *daemon)
	}{
		{
			"killed",
			func(t *testing.T, d *daemon) { t.Helper(); d.Down(t, syscall.SIGKILL) },
			func(t *testing.T, d *daemon) { t.Helper(); d.Up(t) },
		},
		{
			"hangs",
			func(t *testing.T, d *daemon) { t.Helper(); d.Hang(t) },
			func(t *testing.T, d *daemon) { t.Helper(); d.GoOn(t) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t)
			var ids []string
			for n := range 5 {
				ids = append(ids, d.run(t, spec{name: fmt.Sprint("away", n)}))
			}
			doomed, alive := ids[:2], ids[2:]
			var pids []int
			for _, id := range doomed {
				pids = append(pids, d.process(t, id))
			}
			a, rec := d.agent(t, nil)
			for _, id := range doomed {
				a.watched(t, id)
			}
			tt.away(t, d)
			for _, pid := range pids {
				slay(t, pid)
			}
			for _, id := range doomed {
				waitFor(t, rec, id, "end while the engine is away", silent)
			}
			tt.back(t, d)
			within(t, patience, "agreement after the engine's return", func() string { return d.agrees(t, rec) })
			for _, id := range doomed {
				wantStory(t, rec, id, "serving", "draining", "remove")
			}
			for _, id := range alive {
				wantStory(t, rec, id, "serving")
			}
			slay(t, d.process(t, alive[0]))
			waitFor(t, rec, alive[0], "end after the engine's return", gone)
		})
	}
}

// liar is an engine that gives one container another process's ID, as one does
// that is on another host or in another PID namespace.
type liar struct {
	engine
	id  string
	pid *atomic.Int64
}

func (l *liar) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	c, err := l.engine.ContainerInspect(ctx, id)
	if err == nil && id == l.id {
		c.State.Pid = int(l.pid.Load())
	}
	return c, err
}

func TestProcessOfSomebodyElse(t *testing.T) {
	r := docker(t)
	for name, other := range map[string]func(t *testing.T, id string) (pid int, kill func()){
		"a stranger": func(t *testing.T, _ string) (int, func()) { t.Helper(); return child(t) },
		"another container's": func(t *testing.T, _ string) (int, func()) {
			t.Helper()
			pid := r.process(t, r.run(t, spec{name: "somebody-else"}))
			return pid, func() { slay(t, pid) }
		},
		"another one of the container": func(t *testing.T, id string) (int, func()) {
			t.Helper()
			pid := r.second(t, id)
			return pid, func() { slay(t, pid) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := r.run(t, spec{name: "somebody"})
			pid, kill := other(t, id)
			var told atomic.Int64
			told.Store(int64(pid))
			log := &buffer{}
			a, rec := r.unstarted(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
			dial := a.engine.dial
			a.engine.dial = func() (engine, error) {
				e, err := dial()
				return &liar{e, id, &told}, err
			}
			startAgent(t, a)
			logged := func() string {
				if n := log.count("can't watch the process"); n != 1 {
					return fmt.Sprintf("that it isn't watched is logged %d times", n)
				}
				return ""
			}
			// After that it was published: once it is dead, it isn't worth a word.
			eventually(t, "the agent tried to watch it", logged)
			kill()
			if err := r.cli.ContainerPause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			waitFor(t, rec, id, "pause", silent)
			if err := r.cli.ContainerUnpause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			waitFor(t, rec, id, "unpause", serving)
			wantStory(t, rec, id, "serving", "paused/", "serving")
			if problem := logged(); problem != "" {
				t.Error(problem)
			}
			r.remove(t, id)
			waitFor(t, rec, id, "removal", gone)
		})
	}
}

// second starts another process in a container.
func (r *rig) second(t *testing.T, id string) (pid int) {
	t.Helper()
	e, err := r.cli.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: []string{"/worker", "wait"}})
	if err == nil {
		err = r.cli.ContainerExecStart(t.Context(), e.ID, container.ExecStartOptions{Detach: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "process of an exec", func() string {
		x, err := r.cli.ContainerExecInspect(t.Context(), e.ID)
		if pid = x.Pid; err != nil || pid == 0 {
			return fmt.Sprint(err)
		}
		return ""
	})
	return pid
}

// pidfds counts those of this process.
func pidfds(t *testing.T) int {
	t.Helper()
	const dir = "/proc/self/fd"
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range all {
		// One that is gone by now is none.
		if link, err := os.Readlink(dir + "/" + f.Name()); err == nil && strings.Contains(link, "pidfd") {
			n++
		}
	}
	return n
}

// Nothing is left of processes that ended, however they did, nor of those that
// outlive the agent. That no goroutine is, is checked for all tests.
func TestWatchingLeaksNothing(t *testing.T) {
	r := docker(t)
	before, watched := pidfds(t), gauge(t)
	a, rec := r.unstarted(t, func(c *Config) { c.RelistInterval = 50 * time.Millisecond })
	stop := startAgent(t, a)
	waitReady(t, a)
	stays := r.run(t, spec{name: "leak-stays"})
	for n := range 12 {
		id := r.run(t, spec{name: fmt.Sprint("leak", n)})
		a.watched(t, id)
		switch n % 3 {
		case 0:
			slay(t, r.process(t, id))
		case 1:
			r.kill(t, id, "SIGKILL")
		case 2:
			r.remove(t, id)
		}
		waitFor(t, rec, id, "end", gone)
	}
	a.watched(t, stays)
	// Other people's containers are watched, too.
	eventually(t, "as many pidfds as containers", func() string {
		n, running := pidfds(t)-before, len(r.running(t))
		if n < 1 || n > running || gauge(t)-watched != float64(n) {
			return fmt.Sprintf("%d for %d, %v watched", n, running, gauge(t)-watched)
		}
		return ""
	})
	stop()
	if n := pidfds(t) - before; n != 0 || gauge(t) != watched {
		t.Errorf("%d pidfds and %v processes are left", n, gauge(t)-watched)
	}
	if !serving(rec.get(stays)) {
		t.Errorf("the end of the agent ended %+v", rec.get(stays))
	}
}
