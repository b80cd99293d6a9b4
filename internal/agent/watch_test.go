package agent

import (
	"context"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// run has the bench's container run, with a process of the test's own that the
// agent watches, and returns what kills that and waits until it is noticed.
func (b *bench) run(f *facts) (kill func()) {
	b.t.Helper()
	b.on("start", 0.1)
	pid, end := child(b.t)
	f.pid = pid
	b.look()(f, nil)
	p, err := openProcess(pid, f.started)
	if err != nil {
		b.t.Fatal(err)
	}
	b.watch(testID, b.entries[testID], p)
	b.t.Cleanup(b.unwatchAll)
	return func() { end(); b.watching.Wait() }
}

func TestEndOfProcess(t *testing.T) {
	b := newBench(t)
	kill := b.run(started(0))
	b.want("serving")
	if b.watchable(testID, b.entries[testID]) {
		t.Error("it is watched, and to be watched again")
	}
	before := time.Now()
	kill()
	b.want("draining")
	if got := b.rec.get(testID).Observed; got.Before(before) || got.After(time.Now()) {
		t.Errorf("observed %s, which is not when it ended", got)
	}
	// What the engine says next is no news, and nothing is written twice.
	b.on("kill", 0.2, "signal", "9")
	if n := len(b.rec.of(testID)); n != 2 {
		t.Errorf("%d writes, want one of the start and one of the end", n)
	}
	b.on("die", 5)
	b.want("gone")
	b.on("start", 6)
	b.look()(started(6), nil)
	b.want("serving")
}

// An engine may say for a while, or as long as it is stuck, that a container
// runs whose process is dead.
func TestDeadProcessIsNotBroughtBack(t *testing.T) {
	tests := []struct {
		name string
		do   func(b *bench, f *facts)
		want string
	}{
		{"inspect", func(b *bench, f *facts) { b.look()(f, nil) }, "draining"},
		{"list", func(b *bench, f *facts) { b.listed([]string{testID}, at(60)); b.look()(f, nil) }, "draining"},
		{"old event of a death", func(b *bench, f *facts) { b.on("die", -9); b.look()(f, nil) }, "draining"},
		{"health", func(b *bench, f *facts) {
			b.on("health_status: healthy", 2)
			b.look()(plain(func(g *facts) { *g = *f; g.health = "healthy" }), nil)
		}, "draining"},
		{"after its stop timeout", func(b *bench, f *facts) {
			f.stopTimeout, b.grace = 0, 0
			b.on("kill", 1, "signal", "15")
			b.look()(f, nil)
		}, "draining"},
		{"failure", func(b *bench, _ *facts) { b.look()(nil, context.DeadlineExceeded) }, "draining"},
		{"end at last", func(b *bench, _ *facts) { b.look()(plain(func(f *facts) { f.status = "exited" }), nil) }, "gone"},
		{"removal", func(b *bench, _ *facts) { b.look()(nil, nil) }, "gone"},
		{"next run, whose start and the death before it were lost", func(b *bench, _ *facts) {
			b.listed([]string{testID}, at(60))
			b.look()(started(50), nil)
		}, "serving"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			f := started(0)
			kill := b.run(f)
			kill()
			b.want("draining")
			tt.do(b, f)
			b.want(tt.want)
			if e := b.entries[testID]; e != nil && b.watchable(testID, e) != (tt.want == "serving") {
				t.Errorf("it is to be watched: %t", tt.want != "serving")
			}
		})
	}
}

func TestInspectFromBeforeTheEndDoesNotUndrain(t *testing.T) {
	b := newBench(t)
	f := started(0)
	kill := b.run(f)
	done := b.look()
	kill()
	done(f, nil)
	b.want("draining")
}

// The end of a process ends only the run whose process it was.
func TestEndOfAnotherRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		next func(b *bench)
	}{
		{"restart", func(b *bench) { b.on("die", 1); b.on("start", 2); b.look()(started(2), nil) }},
		{"restart without events", func(b *bench) { b.look()(started(2), nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			before := gauge(t)
			kill := b.run(started(0))
			old := b.entries[testID].init
			tt.next(b)
			if n := gauge(t) - before; n != 0 {
				t.Errorf("%v processes of a run that is over are watched", n)
			}
			kill()
			b.want("serving")
			// It may have been noticed at the very moment of the restart.
			b.ended(testID, old, at(1), nil)
			b.want("serving")
			b.look()(started(2), nil)
			b.want("serving")
		})
	}
}

// Where waiting fails, nothing is known of the process, and it is tried again.
func TestWatchingFails(t *testing.T) {
	b := newBench(t)
	before := gauge(t)
	b.run(started(0))
	e := b.entries[testID]
	e.init.stop()
	b.watching.Wait()
	b.want("serving")
	if !b.watchable(testID, e) || gauge(t) != before {
		t.Errorf("it is watched, by nobody: %+v", e.init)
	}
	b.look()(started(0), nil)
	b.want("serving")
}

func TestOnlyTheRegisteredAreWatched(t *testing.T) {
	b := newBench(t)
	if b.watchable(testID, &entry{}) {
		t.Error("a container that nobody knows is to be watched")
	}
	b.on("start", 0.1)
	b.look()(labelled(labels{"rackdns.ignore": "1"}), nil)
	if b.watchable(testID, b.entries[testID]) {
		t.Error("a container without a name is to be watched")
	}
	b.look()(plain(nil), nil)
	if !b.watchable(testID, b.entries[testID]) {
		t.Error("one with a name is not")
	}
}

// A container may die while its process is being opened.
func TestTooLateToWatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		next func(b *bench, f *facts)
	}{
		{"death", func(b *bench, _ *facts) { b.on("die", 5) }},
		{"restart", func(b *bench, f *facts) { b.on("die", 5); b.on("start", 6); b.look()(f, nil) }},
		{"another run", func(b *bench, f *facts) { f.started = at(2); b.look()(f, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			pid, _ := child(t)
			b.on("start", 0.1)
			f := plain(func(f *facts) { f.started, f.pid = at(0), pid })
			b.look()(f, nil)
			e := b.entries[testID]
			p, err := openProcess(pid, f.started)
			if err != nil {
				t.Fatal(err)
			}
			next := *f
			tt.next(b, &next)
			b.watch(testID, e, p)
			t.Cleanup(b.unwatchAll)
			if e.init != nil {
				t.Error("the process of a run that is over is watched")
			}
			if err := p.pidfd.Close(); err == nil {
				t.Error("the process of a run that is over was left open")
			}
		})
	}
}

func gauge(t *testing.T) float64 {
	t.Helper()
	var m dto.Metric
	if err := watchedProcesses.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}
