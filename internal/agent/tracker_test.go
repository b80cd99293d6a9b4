package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// bench is a tracker whose events and inspects come in the order that a test
// wants, which an engine gives only by accident.
type bench struct {
	*tracker
	t   *testing.T
	rec *recorder
}

func newBench(t *testing.T) *bench {
	t.Helper()
	testEpoch = time.Now().UTC()
	q := newQueue(4)
	t.Cleanup(q.close)
	rec := newRecorder()
	b := &bench{newTracker(q, rec, testLog(t), 2*time.Second), t, rec}
	// However slow the machine is.
	b.confirm = time.Minute
	return b
}

// testEpoch is when the container of a bench starts: just now, since how long
// ago a signal was sent matters.
var testEpoch time.Time

// at is a time in the life of the container, which started at 0.
func at(seconds float64) time.Time {
	return testEpoch.Add(time.Duration(seconds * float64(time.Second)))
}

func (b *bench) on(action string, seconds float64, attrs ...string) {
	b.t.Helper()
	m := events.Message{Type: events.ContainerEventType, Action: events.Action(action), TimeNano: at(seconds).UnixNano()}
	m.Actor = events.Actor{ID: testID, Attributes: map[string]string{}}
	for n := 0; n < len(attrs); n += 2 {
		m.Actor.Attributes[attrs[n]] = attrs[n+1]
	}
	if m.Actor.Attributes["container"] != "" {
		m.Type, m.Actor.ID = events.NetworkEventType, "some-network"
	}
	b.event(m)
}

// look begins an inspect and returns what ends it.
func (b *bench) look() func(f *facts, err error) {
	e, observed := b.begin(testID)
	return func(f *facts, err error) {
		switch {
		case e == nil:
		case err != nil:
			b.failed(testID, e, observed, err)
		case f == nil:
			b.gone(testID, e)
		default:
			b.apply(testID, e, decide(f, testHome), observed)
		}
	}
}

// state says in a word how the container is registered.
func (b *bench) state() string {
	i := b.rec.get(testID)
	switch {
	case i == nil:
		return "gone"
	case i.Draining:
		return "draining"
	case i.Serving():
		return "serving"
	}
	return i.Status + "/" + i.Health
}

func (b *bench) want(state string) {
	b.t.Helper()
	if got := b.state(); got != state {
		b.t.Fatalf("it is %s, want %s", got, state)
	}
}

// waiting reports whether the container waits to be looked at.
func (b *bench) waiting() bool {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	_, ok := b.queue.dirty[testID]
	return ok
}

func started(seconds float64) *facts {
	return plain(func(f *facts) { f.started = at(seconds) })
}

func TestDeathNeedsNoInspect(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	b.want("serving")
	b.on("die", 5)
	b.want("gone")
}

func TestInspectFromBeforeTheDeathDoesNotResurrect(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	done := b.look()
	b.on("die", 5)
	done(started(0), nil)
	b.want("gone")
	b.look()(plain(func(f *facts) { f.status = "exited" }), nil)
	b.want("gone")

	// The same with a restart in between.
	b.on("start", 10)
	b.look()(started(10), nil)
	b.on("pause", 11)
	done = b.look()
	b.on("die", 12)
	b.on("start", 13)
	done(started(10), nil)
	b.want("gone")
	b.look()(started(13), nil)
	b.want("serving")
}

func TestListFromBeforeTheDeathDoesNotResurrect(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	b.on("die", 5)
	b.listed([]string{testID}, at(4))
	b.want("gone")
	b.look()(plain(func(f *facts) { f.status = "exited" }), nil)
	b.want("gone")
	if b.pending != nil {
		t.Error("the list is not done with")
	}
}

func TestListFromBeforeTheStartDoesNotRemove(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	b.listed(nil, at(0))
	b.want("serving")
	b.look()(started(0), nil)
	b.want("serving")
	for _, w := range b.rec.of(testID) {
		if w.op == "remove" {
			t.Errorf("it was removed")
		}
	}
}

func TestMissedDeath(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	b.listed(nil, at(60))
	b.look()(nil, nil)
	b.want("gone")
}

// Engines repeat events of the past to those who subscribe.
func TestRepeatedEvents(t *testing.T) {
	b := newBench(t)
	b.listed([]string{testID}, at(100))
	b.look()(started(50), nil)
	b.on("kill", 40, "signal", "15")
	b.on("die", 41)
	b.want("serving")
	b.on("start", 50)
	b.look()(started(50), nil)
	b.want("serving")
	for _, w := range b.rec.of(testID) {
		if w.op == "remove" || w.instance != nil && w.instance.Draining {
			t.Errorf("an event of the past did harm: %+v", w)
		}
	}
}

func TestKillBeforeTheFirstInspect(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.on("kill", 1, "signal", "15")
	b.look()(started(0), nil)
	b.want("draining")
}

func TestInspectFromBeforeTheKillDoesNotUndrain(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	done := b.look()
	b.on("kill", 1, "signal", "15")
	b.want("draining")
	done(started(0), nil)
	b.want("draining")
	// Whatever else happens to it.
	b.on("health_status: healthy", 2)
	b.look()(plain(func(f *facts) { f.started, f.health = at(0), "healthy" }), nil)
	b.want("draining")
}

func TestSignals(t *testing.T) {
	tests := []struct {
		signal string
		stop   int
		want   string
	}{
		{"15", 15, "draining"},
		{"9", 15, "draining"},
		{"1", 15, "serving"},
		{"2", 15, "serving"},
		{"10", 15, "serving"},
		{"28", 15, "serving"},
		{"1", 1, "draining"},
		{"15", 1, "serving"},
		{"SIGTERM", 15, "draining"},
		{"37", 37, "draining"},
		{"", 15, "serving"},
		{"nonsense", 15, "serving"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s to one that stops by %d", tt.signal, tt.stop), func(t *testing.T) {
			b := newBench(t)
			b.on("start", 0.1)
			b.look()(plain(func(f *facts) { f.stopSignal = tt.stop }), nil)
			b.on("kill", 1, "signal", tt.signal)
			b.want(tt.want)
		})
	}
}

// An agent that starts while a container is about to end is told so by events
// of the past; one that survived such a signal long ago serves.
func TestKillBeforeTheAgent(t *testing.T) {
	b := newBench(t)
	b.setClock(0)
	b.on("start", -60)
	b.on("kill", -3, "signal", "15")
	b.look()(started(-60), nil)
	b.want("draining")

	b = newBench(t)
	b.fates(surviving)
	b.on("start", -60)
	b.on("kill", -30, "signal", "15")
	b.look()(started(-60), nil)
	b.asked()
	b.look()(started(-60), nil)
	b.want("serving")

	// The engine's clock is half a minute ahead.
	b = newBench(t)
	b.setClock(30 * time.Second)
	b.on("start", -60)
	b.on("kill", 27, "signal", "15")
	b.look()(started(-60), nil)
	b.want("draining")
	// A signal of the past doesn't hide one that came later.
	b.on("kill", -1, "signal", "15")
	b.look()(started(-60), nil)
	b.want("draining")
}

func TestRestartEndsDraining(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	b.on("kill", 1, "signal", "15")
	// Neither the death nor the start arrived: a list found the new run.
	b.listed([]string{testID}, at(9))
	b.look()(started(3), nil)
	b.want("serving")
}

func TestNetworkEvents(t *testing.T) {
	b := newBench(t)
	b.on("connect", 0, "container", testID)
	if b.waiting() {
		t.Error("a container that doesn't run yet is looked at, which hangs until it does")
	}
	b.on("start", 0.1)
	b.queue.nextLocked()
	b.look()(started(0), nil)
	b.queue.done(testID, false)
	b.on("connect", 5, "container", testID)
	if !b.waiting() {
		t.Error("a network that was connected later is not looked at")
	}
	b.on("die", 6)
	b.on("disconnect", 6.1, "container", testID)
	if b.entries[testID] != nil {
		t.Error("the disconnect after a death brought it back")
	}
}

// Until an inspect says otherwise, what an agent before this one registered
// stays.
func TestFirstList(t *testing.T) {
	b := newBench(t)
	b.listed([]string{testID}, at(0))
	select {
	case <-b.ready:
		t.Fatal("ready before anything was looked at")
	default:
	}
	b.look()(nil, context.DeadlineExceeded)
	<-b.ready
	if diff := cmp.Diff(map[string]bool{shortID(testID): true}, b.rec.kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	// It answers at last, and is none of ours.
	b.look()(labelled(labels{"rackdns.ignore": "1"}), nil)
	ws := b.rec.of(testID)
	if len(ws) != 1 || ws[0].op != "remove" {
		t.Errorf("writes = %+v, want its removal", ws)
	}
}

func TestHangingInspectKeepsTheLastState(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(started(0), nil)
	for range 3 {
		b.listed([]string{testID}, at(9))
		b.look()(nil, errors.New("timed out"))
		b.want("serving")
	}
	if len(b.rec.kept) != 0 {
		t.Errorf("kept = %v, though its state is known", b.rec.kept)
	}
	b.on("die", 20)
	b.want("gone")
}

func TestEmptyHost(t *testing.T) {
	b := newBench(t)
	b.listed(nil, at(0))
	<-b.ready
}

// The time of the event that caused a write is written, so that propagation
// can be measured; it alone is no difference.
func TestObserved(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.125)
	b.look()(started(0), nil)
	if got := b.rec.get(testID).Observed; !got.Equal(at(0.125)) {
		t.Errorf("observed %s, want the time of the start", got)
	}
	b.listed([]string{testID}, at(30))
	b.look()(started(0), nil)
	if n := len(b.rec.of(testID)); n != 1 {
		t.Errorf("%d writes, though nothing changed", n)
	}
	b.on("kill", 31.5, "signal", "15")
	if got := b.rec.get(testID).Observed; !got.Equal(at(31.5)) {
		t.Errorf("observed %s, want the time of the kill", got)
	}
}

func TestDestroyForgets(t *testing.T) {
	b := newBench(t)
	b.on("start", 0.1)
	b.look()(labelled(labels{"rackdns.weight": "0"}), nil)
	b.on("die", 1)
	b.on("destroy", 1.1)
	if len(b.entries)+len(b.told)+len(b.joiners) != 0 {
		t.Errorf("left: %d entries, %d told, %d joiners", len(b.entries), len(b.told), len(b.joiners))
	}
}

// A container that shares another's network is looked at when that one dies,
// starts or changes networks.
func TestJoiners(t *testing.T) {
	b := newBench(t)
	other := "aaaaaaaaaaaa" + testID[12:]
	b.mu.Lock()
	b.mark(other, at(1), hot)
	b.mu.Unlock()
	e, observed := b.begin(other)
	joiner := plain(func(f *facts) {
		f.id, f.started, f.mode, f.attachments = other, at(1), "container:"+testID, nil
		f.joins, f.joined = testID, started(0)
	})
	b.apply(other, e, decide(joiner, testHome), observed)
	if i := b.rec.get(other); i == nil || !i.Networks[0].IPv4.IsValid() {
		t.Fatalf("the joiner is %+v", i)
	}
	b.on("start", 0.1)
	b.look()(started(0), nil)
	for _, action := range []string{"die", "start", "pause", "destroy"} {
		for id, ok := b.queue.nextLocked(); ok; id, ok = b.queue.nextLocked() {
			b.queue.done(id, false)
		}
		b.on(action, 9)
		b.queue.mu.Lock()
		_, dirty := b.queue.dirty[other]
		b.queue.mu.Unlock()
		if !dirty {
			t.Errorf("%s: the joiner is not looked at", action)
		}
	}
	e, observed = b.begin(other)
	joiner.joined = nil
	b.apply(other, e, decide(joiner, testHome), observed)
	if i := b.rec.get(other); i != nil {
		t.Errorf("the joiner of a container that is gone is %+v", i)
	}
}

func TestSameInstance(t *testing.T) {
	a := decide(plain(nil), testHome).instance
	b := decide(plain(nil), testHome).instance
	b.Observed = at(1)
	if !sameInstance(a, b) || !sameInstance(nil, nil) {
		t.Error("the same differ")
	}
	b.Status = registry.StatusPaused
	if sameInstance(a, b) || sameInstance(a, nil) || sameInstance(nil, a) {
		t.Error("different ones are the same")
	}
}
