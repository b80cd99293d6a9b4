package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestKillOf(t *testing.T) {
	const root = "runc --root /run/docker/runtime-runc/moby --log /run/log.json --log-format json "
	tests := []struct {
		name, line, id, signal string
	}{
		{"as containerd does", root + "kill " + testID + " 9", testID, "9"},
		{"all processes", root + "kill --all " + testID + " 15", testID, "15"},
		{"with systemd", "runc --systemd-cgroup kill " + testID + " SIGTERM", testID, "SIGTERM"},
		{"the standard's default", "crun kill " + testID, testID, "SIGTERM"},
		{"a script's", "/bin/sh /opt/runtime --root /run kill " + testID + " 9", testID, "9"},

		{"another command", root + "exec --process /tmp/p " + testID, "", ""},
		{"a program called so", "kill " + testID + " 9", "", ""},
		{"a command that mentions it", root + "exec " + testID + " kill 1", "", ""},
		{"short ID", root + "kill 3485248b1d18 9", "", ""},
		{"no container", root + "kill", "", ""},
		{"too much", root + "kill " + testID + " 9 10", "", ""},
		{"nothing", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, signal, ok := killOf(strings.Fields(tt.line))
			if want := tt.id != ""; ok != want || ok && (id != tt.id || signal != tt.signal) {
				t.Errorf("%s: %q, %q, %t, want %q, %q, %t", tt.line, id, signal, ok, tt.id, tt.signal, want)
			}
		})
	}
}

func TestRuns(t *testing.T) {
	names := map[string]bool{"runc": true}
	for line, want := range map[string]bool{
		"runc kill x":                  true,
		"/usr/bin/runc kill x":         true,
		"/bin/sh /usr/bin/runc kill x": true,
		"containerd-shim-runc-v2 -id":  false,
		"vi a runc":                    false,
		"":                             false,
	} {
		if got := runs(strings.Fields(line), names); got != want {
			t.Errorf("%q: %t, want %t", line, got, want)
		}
	}
}

func TestRuntimePaths(t *testing.T) {
	for path, want := range map[string]string{"/bin/sh": "/bin/sh", "sh": "/bin/sh", "/bin": "", "no-such-runtime": "", "": ""} {
		got := strings.Join(runtimePaths(path), " ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestForetoldSignals(t *testing.T) {
	tests := []struct {
		signal string
		stop   int
		want   string
	}{
		{"9", 15, "draining"},
		{"15", 15, "draining"},
		{"SIGTERM", 15, "draining"},
		{"1", 1, "draining"},
		{"1", 15, "serving"},
		{"15", 1, "serving"},
		{"nonsense", 15, "serving"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s to one that stops by %d", tt.signal, tt.stop), func(t *testing.T) {
			b := newBench(t)
			b.on("start", -60)
			b.look()(plain(func(f *facts) { f.started, f.stopSignal = at(-60), tt.stop }), nil)
			var before, after dto.Metric
			_ = foretoldKills.Write(&before)
			b.foretold(testID, tt.signal, at(0))
			b.want(tt.want)
			_ = foretoldKills.Write(&after)
			// Others may count meanwhile.
			if counted := after.GetCounter().GetValue() > before.GetCounter().GetValue(); tt.want == "draining" && !counted {
				t.Error("it isn't counted")
			}
		})
	}
}

func TestForetoldKill(t *testing.T) {
	b := newBench(t)
	b.on("start", -60)
	b.look()(started(-60), nil)
	// Another engine's.
	b.foretold(strings.Repeat("0", idDigits), "9", at(-1))
	b.want("serving")

	b.foretold(testID, "9", at(0))
	b.want("draining")
	if got := b.rec.get(testID).Observed; !got.Equal(at(0)) {
		t.Errorf("observed at %s, want when it was foretold: %s", got, at(0))
	}
	// An inspect meanwhile says that it runs, and the engine's event is no news.
	b.look()(started(-60), nil)
	b.on("kill", 0.1, "signal", "9")
	b.want("draining")
	if n := len(b.rec.of(testID)); n != 2 {
		t.Errorf("%d writes, want one of the start and one of the kill", n)
	}
	b.on("die", 1)
	b.want("gone")
}

// hinted returns a bench whose container serves, with how long a hint counts.
func hinted(t *testing.T, confirm time.Duration) *bench {
	t.Helper()
	b := newBench(t)
	b.confirm = confirm
	b.on("start", -60)
	b.look()(started(-60), nil)
	id, _ := b.queue.get(t.Context())
	b.queue.done(id, false)
	b.want("serving")
	return b
}

// again waits until the container is to be looked at again, and takes it.
func (b *bench) again(t *testing.T) {
	t.Helper()
	eventually(t, "another look", func() string {
		if !b.waiting() {
			return "it isn't to be looked at again"
		}
		return ""
	})
	id, _ := b.queue.get(t.Context())
	b.queue.done(id, false)
}

func counter(c prometheus.Counter) float64 {
	var m dto.Metric
	_ = c.Write(&m)
	return m.GetCounter().GetValue()
}

// A runtime that fails kills nobody, and the engine tells of no kill; nor of one
// that somebody made up, over and over.
func TestForetoldKillThatDoesNotCome(t *testing.T) {
	for name, look := range map[string]func(b *bench){
		"the engine says that it runs": func(b *bench) { b.look()(started(-60), nil) },
		"the engine says nothing":      func(b *bench) { b.look()(nil, errors.New("busy")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := hinted(t, 50*time.Millisecond)
			before, ignored := counter(unconfirmedKills), counter(unbelievedKills)
			b.foretold(testID, "9", time.Now())
			b.want("draining")
			b.again(t)
			// One more before it is undone doesn't make it last.
			b.foretold(testID, "15", time.Now())
			look(b)
			b.want("serving")
			b.foretold(testID, "9", time.Now())
			b.want("serving")
			if counter(unconfirmedKills) == before || counter(unbelievedKills) == ignored {
				t.Error("it isn't counted")
			}
			// The engine's own word is believed at any time, and ends the doubts.
			b.on("kill", 1, "signal", "9")
			b.want("draining")
		})
	}
}

func TestForetoldKillsAreDoubtedLonger(t *testing.T) {
	b := hinted(t, time.Nanosecond)
	e := b.entries[testID]
	now := time.Now()
	var pauses []string
	for range 9 {
		b.foretold(testID, "9", now)
		b.look()(started(-60), nil)
		b.want("serving")
		pauses = append(pauses, time.Until(e.hint.deaf).Round(time.Second).String())
		b.foretold(testID, "9", now.Add(time.Second))
		b.want("serving")
		e.hint.deaf = time.Time{}
		now = now.Add(time.Millisecond)
	}
	want := []string{"10s", "20s", "40s", "1m20s", "2m40s", "5m20s", "10m0s", "10m0s", "10m0s"}
	if diff := cmp.Diff(want, pauses); diff != "" {
		t.Errorf("nothing is believed for (-want +got):\n%s", diff)
	}
	b.confirm = time.Minute
	now = time.Now()
	b.foretold(testID, "9", now)
	b.want("draining")
	b.event(killEvent(now.Add(time.Millisecond), "9"))
	b.want("draining")
	if e.hint != (hint{}) {
		t.Errorf("after one that came: %+v", e.hint)
	}
}

func killEvent(at time.Time, signal string) events.Message {
	m := events.Message{Type: events.ContainerEventType, Action: events.ActionKill, TimeNano: at.UnixNano()}
	m.Actor = events.Actor{ID: testID, Attributes: map[string]string{"signal": signal}}
	return m
}

// A container that is being stopped doesn't serve again because a hint of
// another signal came to nothing.
func TestForetoldKillOfOneThatIsStopped(t *testing.T) {
	b := hinted(t, 50*time.Millisecond)
	now := time.Now()
	b.event(killEvent(now, "15"))
	b.want("draining")
	b.foretold(testID, "9", now.Add(time.Millisecond))
	within(t, patience, "end of the hint", func() string {
		b.look()(started(-60), nil)
		b.want("draining")
		if b.entries[testID].hint.doubts == 0 {
			return "it is believed"
		}
		return ""
	})
}

// The end of the process confirms, whatever the engine says.
func TestForetoldKillOfOneThatEnded(t *testing.T) {
	b := hinted(t, time.Minute)
	b.foretold(testID, "9", time.Now())
	b.want("draining")
	b.entries[testID].ended = b.entries[testID].facts.started
	b.confirm = 0
	b.look()(started(-60), nil)
	b.want("draining")
}

// An engine that takes long to say that the container runs has as long again
// for its event, once.
func TestForetoldKillByABusyEngine(t *testing.T) {
	b := hinted(t, time.Minute)
	now := time.Now()
	h := hint{number: 9, kill: kill{at: now, here: now, early: true}}
	const confirm = 500 * time.Millisecond
	over := func(what string, took, after, want time.Duration) {
		t.Helper()
		h.hearOut(took, confirm, now.Add(after))
		if got := h.over(confirm).Sub(now); got != want {
			t.Errorf("%s: over after %s, want %s", what, got, want)
		}
	}
	over("a look before its end", time.Second, 400*time.Millisecond, confirm)
	over("a quick look", time.Millisecond, 501*time.Millisecond, confirm)
	over("a slow look", 300*time.Millisecond, 800*time.Millisecond, 1100*time.Millisecond)
	over("another one", 300*time.Millisecond, 1400*time.Millisecond, 1100*time.Millisecond)

	b.foretold(testID, "9", now)
	done := b.look()
	e := b.entries[testID]
	e.asked, b.confirm = e.asked.Add(-time.Hour), time.Nanosecond
	e.hint.here = e.hint.here.Add(-time.Hour)
	done(started(-60), nil)
	if e.hint.until.IsZero() {
		t.Error("a look that took an hour is taken for a quick one")
	}
}

// An older event, which comes late, is of another kill.
func TestForetoldKillAndAnOlderOne(t *testing.T) {
	b := hinted(t, time.Minute)
	now := time.Now()
	b.foretold(testID, "9", now)
	b.event(killEvent(now.Add(-time.Second), "9"))
	if b.entries[testID].hint.number == 0 {
		t.Error("an event from before confirms it")
	}
}

// An engine that does kill confirms in time, and one that doesn't has its
// container back.
func TestForetoldKillOnARealEngine(t *testing.T) {
	r := docker(t)
	a, rec := r.agent(t, nil)
	id := r.run(t, spec{name: "foretold"})
	waitFor(t, rec, id, "start", serving)
	a.tracker.foretold(id, "SIGKILL", time.Now())
	waitFor(t, rec, id, "hint", silent)
	waitFor(t, rec, id, "end of the hint", serving)
	a.tracker.foretold(id, "SIGKILL", time.Now())
	if !serving(rec.get(id)) {
		t.Errorf("a second hint is believed: %+v", rec.get(id))
	}
	r.kill(t, id, "SIGKILL")
	waitFor(t, rec, id, "kill", gone)
	wantStory(t, rec, id, "serving", "draining", "serving", "draining", "remove")
}

func TestForetoldKillOfAnotherRun(t *testing.T) {
	b := newBench(t)
	b.on("start", -60)
	b.look()(started(-60), nil)
	b.foretold(testID, "15", at(-0.1))
	b.want("draining")
	b.listed([]string{testID}, at(0))
	b.look()(started(-0.05), nil)
	b.want("serving")
	// And that one may be killed, too.
	b.foretold(testID, "15", at(0))
	b.want("draining")
}
