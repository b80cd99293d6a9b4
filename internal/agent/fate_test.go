package agent

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/registry"
)

// fates has the container's first process do so with signals, one answer after
// the other, the last one for good.
func (b *bench) fates(all ...fate) {
	b.fateOf = func(*facts, int) fate {
		is := all[0]
		if len(all) > 1 {
			all = all[1:]
		}
		return is
	}
}

// asked waits until it is known what the process does.
func (b *bench) asked() {
	b.t.Helper()
	b.watching.Wait()
}

func TestFateByThreads(t *testing.T) {
	sets := func(blocked, ignored, caught uint64, waits ...string) thread {
		if waits == nil {
			waits = []string{"futex_do_wait", "futex_do_wait"}
		}
		return thread{fmt.Sprintf("Name:\tworker\nSigQ:\t0/127\nSigPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n", 0, blocked, ignored, caught), [2]string(waits)}
	}
	text := func(old, now string, status thread) []thread {
		return []thread{{strings.Replace(status.status, old, now, 1), status.waits}}
	}
	one := func(t thread) []thread { return []thread{t} }
	term, all := uint64(1)<<14, ^uint64(0)
	tests := []struct {
		name    string
		threads []thread
		signal  int
		init    bool
		want    fate
	}{
		{"caught", one(sets(0, 0, term)), 15, true, ending},
		{"caught, and not the first of its namespace", one(sets(0, 0, term)), 15, false, ending},
		{"blocked, to be waited for", one(sets(term, 0, 0)), 15, true, ending},
		{"ignored", one(sets(0, term, 0)), 15, true, surviving},
		{"ignored, and not the first", one(sets(0, term, 0)), 15, false, surviving},
		{"nothing said, by the first", one(sets(0, 0, 0)), 15, true, surviving},
		{"nothing said, by another", one(sets(0, 0, 0)), 15, false, ending},
		{"nothing said, of one that ends nobody", one(sets(0, 0, 0)), 28, false, surviving},
		{"another one is caught", one(sets(0, 0, all&^term)), 15, true, surviving},
		{"another one is ignored", one(sets(0, all&^term, 0)), 15, false, ending},
		{"the first signal", one(sets(0, 1, 0)), 1, true, surviving},
		{"a real-time signal", one(sets(0, 0, 1<<36)), 37, true, ending},
		{"the last real-time signal", one(sets(0, 0, 1<<63)), 64, true, ending},
		{"a real-time signal, and nothing said", one(sets(0, 0, 0)), 37, false, ending},
		{"no sets", one(thread{status: "Name:\tworker\nPid:\t1\n"}), 15, true, unknownFate},
		{"a set is missing", text("SigCgt", "SigXxx", sets(0, term, 0)), 15, true, unknownFate},
		{"not a set", text("SigCgt:\t", "SigCgt:\tx", sets(0, term, 0)), 15, true, unknownFate},
		{"no thread", nil, 15, true, unknownFate},
		{"blocked by one thread, ignored", []thread{sets(all, term, 0), sets(0, term, 0)}, 15, true, surviving},
		{"blocked by one thread, nothing said", []thread{sets(all, 0, 0), sets(0, 0, 0)}, 15, true, surviving},
		{"blocked by all threads", []thread{sets(all, term, 0), sets(term, term, 0)}, 15, true, ending},
		{"waited for", one(sets(0, 0, 0, "do_sigtimedwait", "do_sigtimedwait")), 15, true, ending},
		{"waited for until just now", one(sets(0, 0, 0, "do_sigtimedwait", "0")), 15, true, ending},
		{"waited for again", one(sets(0, 0, 0, "0", "do_sigtimedwait")), 15, true, ending},
		{"waited for by one thread", []thread{sets(term, 0, 0), sets(0, 0, 0, "0", "do_sigtimedwait")}, 15, true, ending},
		{"nothing said, and none to see where it waits", one(sets(0, 0, 0, "0", "0")), 15, true, unknownFate},
		{"ignored, and none to see where it waits", one(sets(0, term, 0, "0", "0")), 15, true, surviving},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fateByThreads(tt.threads, tt.signal, tt.init); got != tt.want {
				t.Errorf("%d, want %d, of %+v", got, tt.want, tt.threads)
			}
		})
	}
}

// A real process that says nothing of its signals.
func TestFateOfARealProcess(t *testing.T) {
	pid, _ := child(t)
	for init, want := range map[bool]fate{true: surviving, false: ending} {
		eventually(t, fmt.Sprintf("fate of a first process %t", init), func() string {
			threads, err := readThreads(fmt.Sprintf("/proc/%d/task", pid))
			if got := fateByThreads(threads, 15, init); err != nil || got != want {
				return fmt.Sprintf("%d, want %d, of %+v: %v", got, want, threads, err)
			}
			return ""
		})
	}
	if got := fateOf(plain(func(f *facts) { f.pid = pid }), 15); got != unknownFate {
		t.Errorf("that of another process is taken for the container's: %d", got)
	}
}

// What comes back after its stop signal has proven to survive it.
func TestOnlyProofEndsDraining(t *testing.T) {
	tests := []struct {
		name   string
		signal string
		fates  []fate
		want   string
	}{
		{"it ignores the signal", "15", []fate{surviving}, "serving"},
		{"it catches the signal", "15", []fate{ending}, "draining"},
		{"it caught the signal, once", "15", []fate{ending, surviving}, "draining"},
		{"nobody can tell", "15", []fate{unknownFate}, "draining"},
		{"nobody could tell at first", "15", []fate{unknownFate, surviving}, "serving"},
		{"SIGKILL", "9", []fate{surviving}, "draining"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.fates(tt.fates...)
			run := plain(func(f *facts) { f.started, f.stopTimeout = at(-60), 0 })
			b.grace = 0
			b.on("start", -60)
			b.look()(run, nil)
			b.on("kill", -30, "signal", tt.signal)
			for range 3 {
				b.asked()
				b.look()(run, nil)
			}
			b.asked()
			b.want(tt.want)
			lingers := b.entries[testID].lingering
			if got := lingers != nil && lingers.Lasts(); got != (tt.want == "draining") {
				t.Errorf("it is in the log as one that lingers: %t", got)
			}
			// Another run is another process.
			b.on("start", -1)
			b.look()(plain(func(f *facts) { f.started, f.stopTimeout = at(-1), 0 }), nil)
			b.want("serving")
		})
	}
}

// A process that comes to catch the signal between two of them is ending.
func TestEachSignalIsAskedFor(t *testing.T) {
	b := newBench(t)
	b.grace = 0
	b.fates(surviving, ending)
	run := plain(func(f *facts) { f.started, f.stopTimeout = at(-60), 0 })
	b.on("start", -60)
	b.look()(run, nil)
	for kill, want := range []string{"serving", "draining"} {
		b.on("kill", float64(kill-30), "signal", "15")
		b.asked()
		b.look()(run, nil)
		b.asked()
		b.want(want)
	}
}

// Containers of a real engine that go on after their stop signal, by what their
// first process does about it.
func TestLingeringOnARealEngine(t *testing.T) {
	r := docker(t)
	a, rec := r.agent(t, func(c *Config) { c.DrainGrace = 200 * time.Millisecond })
	timeout, yes := 0, true
	tests := []struct {
		name  string
		spec  spec
		kill  string
		serve bool
	}{
		{"catches", spec{Config: container.Config{Cmd: []string{"stubborn"}}}, "SIGTERM", false},
		{"ignores", spec{Config: container.Config{Cmd: []string{"deaf", "15"}}}, "SIGTERM", true},
		{"ignores-another", spec{Config: container.Config{Cmd: []string{"deaf", "12"}, StopSignal: "SIGUSR2"}}, "SIGUSR2", true},
		{"ignores-in-the-hosts-namespace", spec{Config: container.Config{Cmd: []string{"deaf", "15"}}, host: container.HostConfig{PidMode: "host"}}, "SIGTERM", true},
		{"is-docker-init", spec{Config: container.Config{Cmd: []string{"deaf", "15"}}, host: container.HostConfig{Init: &yes}}, "SIGTERM", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.name, tt.spec.StopTimeout = "linger-"+tt.name, &timeout
			id := r.run(t, tt.spec)
			waitFor(t, rec, id, "start", serving)
			eventually(t, "word of the program that it has said what it does about signals", func() string {
				out, err := r.cli.ContainerLogs(t.Context(), id, container.LogsOptions{ShowStdout: true})
				if err != nil {
					return err.Error()
				}
				defer out.Close()
				if said, err := io.ReadAll(out); err != nil || !strings.Contains(string(said), "settled") {
					return fmt.Sprintf("%q, %v", said, err)
				}
				return ""
			})
			f, err := a.inspector.inspect(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			want := ending
			if tt.serve {
				want = surviving
			}
			eventually(t, "what it does about the signal", func() string {
				if got := fateOf(f, f.stopSignal); got != want {
					return fmt.Sprintf("%d, want %d", got, want)
				}
				return ""
			})
			r.kill(t, id, tt.kill)
			waitFor(t, rec, id, "drain", silent)
			if tt.serve {
				waitFor(t, rec, id, "survival", serving)
				return
			}
			eventually(t, "word in the log", func() string {
				a.tracker.mu.Lock()
				defer a.tracker.mu.Unlock()
				if e := a.tracker.entries[id]; e == nil || e.lingering == nil || !e.lingering.Lasts() {
					return "it doesn't linger"
				}
				return ""
			})
			if !silent(rec.get(id)) {
				t.Errorf("it is told: %+v", rec.get(id))
			}
			r.kill(t, id, "SIGKILL")
			waitFor(t, rec, id, "death", gone)
		})
	}
}

// What the agent before this one knew to be ending is ending, though the engine
// has long forgotten that it was sent its stop signal.
func TestDrainingIsRecalled(t *testing.T) {
	tests := []struct {
		name    string
		started float64
		fate    fate
		event   bool
		want    string
	}{
		{"it catches the signal", -60, ending, false, "draining"},
		{"nobody can tell", -60, unknownFate, false, "draining"},
		{"it ignores the signal", -60, surviving, false, "serving"},
		{"it was another run", -50, ending, false, "serving"},
		{"the engine knows", -60, ending, true, "draining"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.grace = 0
			b.fates(tt.fate)
			run := plain(func(f *facts) { f.started, f.stopTimeout = at(-60), 0 })
			was := *decide(run, testHome).instance
			was.Draining, was.Started, was.Observed = true, at(tt.started), at(-30)
			b.recall([]*registry.Instance{&was})
			if tt.event {
				b.on("start", -60)
				b.on("kill", -20, "signal", "15")
			}
			b.listed([]string{testID}, at(0))
			for range 2 {
				b.look()(run, nil)
				b.asked()
			}
			b.look()(run, nil)
			b.want(tt.want)
		})
	}
}
