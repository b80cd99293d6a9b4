package agent

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

const (
	// confirmWithin is how long the engine may take to tell of a kill that was
	// heard of before it was done.
	confirmWithin = 500 * time.Millisecond
	// After a kill that didn't come, nothing of the kind is believed of the
	// container for a while, each time twice as long as the last.
	doubtFirst, doubtMost = 10 * time.Second, 10 * time.Minute
	// busyLook is how long a look at a container takes where the engine has
	// much to do, or something with that very container: less than a millisecond
	// otherwise. Its events are late then, too.
	busyLook = 50 * time.Millisecond
)

// hint is a kill that was heard of, and that the engine hasn't told of yet.
type hint struct {
	kill
	number int
	// doubts counts the hints in a row that came to nothing. Until deaf none is
	// believed.
	doubts int
	deaf   time.Time
	// until is how long an engine that is busy has for its event, if that is
	// longer than confirmWithin.
	until time.Time
}

// over returns when the hint counts no more without a confirmation.
func (h *hint) over(confirm time.Duration) time.Time {
	if over := h.here.Add(confirm); over.After(h.until) {
		return over
	}
	return h.until
}

// hearOut gives an engine that took long for a look at the container as long
// again for its event, once: the look waits for a kill to be done, and the event
// of that is on its way then.
func (h *hint) hearOut(took time.Duration, confirm time.Duration, now time.Time) {
	if h.number != 0 && h.until.IsZero() && took >= busyLook && !now.Before(h.over(confirm)) {
		h.until = now.Add(min(took, confirm))
	}
}

// foretold takes in that the engine's runtime is about to send a container a
// signal. It counts as the engine's event of that signal does, which comes when
// all is over; but anybody who is root on the host can make it look so, and it
// counts for a moment only unless the engine's event or the end of the process
// confirms it. The time is this host's, which is the engine's too, or nothing
// would be heard.
func (t *tracker) foretold(id, signal string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := parseSignal(signal)
	e := t.entries[id]
	if !ok || e == nil || e.facts != nil && !e.facts.endsBy(n) {
		return
	}
	h := &e.hint
	if at.Before(h.deaf) {
		unbelievedKills.Inc()
		return
	}
	if h.number != 0 && (e.facts == nil || e.facts.endsBy(h.number) && h.at.After(e.facts.started)) {
		// The first one counts until it is over, or a stream of them never were.
		return
	}
	now := time.Now()
	h.number, h.kill, h.until = n, kill{at: at, here: now, number: n, early: true}, time.Time{}
	if at.Before(now) {
		h.here = at
	}
	if e.facts != nil && n == e.facts.stopSignal {
		// The signal hasn't come yet: this is the best time.
		t.askFate(id, e)
	}
	if was := e.instance; was != nil && t.draining(id, e, now) {
		t.drain(e, at)
		if e.instance != was {
			foretoldKills.Inc()
		}
	}
}

// confirm takes in that the engine has told of a signal.
func (h *hint) confirm(n int, at time.Time) {
	if h.number == n && at.After(h.at) {
		foretoldSeconds.Observe(at.Sub(h.at).Seconds())
		*h = hint{}
	}
}

// disbelieve ends a hint that came to nothing. It says so once for each row of
// them.
func (t *tracker) disbelieve(id string, e *entry, now time.Time) {
	h := &e.hint
	deaf := min(doubtFirst<<min(h.doubts, 10), doubtMost)
	*h = hint{doubts: h.doubts + 1, deaf: now.Add(deaf)}
	unconfirmedKills.Inc()
	level := slog.LevelWarn
	if h.doubts > 1 {
		level = slog.LevelDebug
	}
	t.log.Log(context.Background(), level, "a kill of a container was heard of and did not come: it serves again, and for a while its kills count only when the engine tells of them",
		"container", shortID(id), "name", registry.Quote(e.facts.name), "after", t.confirm, "for", deaf)
}

// undo ends a hint that is over although the engine doesn't say what became of
// the container.
func (t *tracker) undo(id string, e *entry, now time.Time) {
	if e.instance == nil || !e.instance.Draining || !e.stopping().early || t.draining(id, e, now) {
		return
	}
	i := *e.instance
	i.Draining = false
	i.Observed = now.UTC()
	t.publish(e, &i)
}

// killOf returns which container a runtime's command line sends which signal,
// if it does (OCI Runtime Command Line Interface, "kill"):
//
//	runc [global options] kill [options] <container> [<signal>]
//
// Engines call their containers by their whole ID.
func killOf(argv []string) (id, signal string, ok bool) {
	for n, arg := range argv {
		if n == 0 || arg != "kill" {
			continue
		}
		var operands []string
		for _, a := range argv[n+1:] {
			if !strings.HasPrefix(a, "-") {
				operands = append(operands, a)
			}
		}
		switch len(operands) {
		case 1:
			return operands[0], "SIGTERM", len(operands[0]) == idDigits
		case 2:
			return operands[0], operands[1], len(operands[0]) == idDigits
		}
		return "", "", false
	}
	return "", "", false
}

// runs reports whether a command line is one of a program of these names, or of
// a script's.
func runs(argv []string, names map[string]bool) bool {
	for _, arg := range argv[:min(len(argv), 2)] {
		if names[filepath.Base(arg)] {
			return true
		}
	}
	return false
}
