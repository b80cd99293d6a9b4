package agent

import (
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// foretold takes in that the engine's runtime is about to send a container a
// signal. It counts as the engine's event of that signal would, which comes when
// all is over; should it not come, since the runtime failed, the container
// serves again after the grace.
func (t *tracker) foretold(id, signal string, at time.Time) {
	n, ok := parseSignal(signal)
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if !ok || e == nil || e.facts == nil || n != int(unix.SIGKILL) && n != e.facts.stopSignal {
		return
	}
	e.foretold = at
	foretoldKills.Inc()
	if e.instance != nil && t.draining(id, e, at) {
		t.drain(e, at)
	}
}

// doomed decides whether the container's present run is about to be sent a
// signal that ends it, and if so has it looked at again when that should be
// known for sure.
func (t *tracker) doomed(id string, e *entry, now time.Time) bool {
	left := e.foretold.Add(t.grace).Sub(now)
	if left <= 0 || !e.foretold.After(e.facts.started) {
		return false
	}
	t.queue.addAfter(id, hot, left)
	return true
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
