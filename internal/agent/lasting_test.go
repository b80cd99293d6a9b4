package agent

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/lasting"
)

// A container that the engine doesn't tell of is said once when that begins,
// again every ten minutes, and once when it is over.
func TestInspectsThatFailForLong(t *testing.T) {
	b := newBench(t)
	log := &buffer{}
	b.log = slog.New(slog.NewTextHandler(log, nil))
	said := func(want int, what string) {
		t.Helper()
		if got := log.count(what); got != want {
			t.Errorf("%q is said %d times, want %d", what, got, want)
		}
	}
	b.on("start", 0.1)
	fail := func() { b.look()(nil, errors.New("busy")) }
	fail()
	said(1, "can't inspect a container")
	now := time.Now()
	b.entries[testID].silent = lasting.NewClock(b.log, func() time.Time { return now })
	for range 25 * 60 {
		fail()
		now = now.Add(time.Second)
	}
	said(1+3, "can't inspect a container")
	b.look()(started(0), nil)
	b.on("pause", 1)
	b.look()(started(0), nil)
	said(1, "can be inspected again")
}

// The same for an engine that is another one than before.
func TestAnotherEngineForLong(t *testing.T) {
	log := &buffer{}
	now := time.Now()
	a := &Agent{engineID: "mine", foreign: lasting.NewClock(slog.New(slog.NewTextHandler(log, nil)), func() time.Time { return now })}
	for range 21 {
		a.noteEngine("other")
		now = now.Add(time.Minute)
	}
	a.noteEngine("mine")
	a.noteEngine("mine")
	if other, again := log.count("engine=other before=mine"), log.count("from before again"); other != 3 || again != 1 {
		t.Errorf("said %d times that it is another, %d that it isn't", other, again)
	}
}
