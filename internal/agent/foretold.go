package agent

import (
	"path/filepath"
	"strings"
	"time"
)

// foretold takes in that the engine's runtime is about to send a container a
// signal. It counts as the engine's event of that signal does, which comes when
// all is over; a container that gets no signal after all has survived it. The
// time is this host's, which is the engine's too, or nothing would be heard.
func (t *tracker) foretold(id, signal string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil {
		return
	}
	was := e.instance
	t.killed(id, signal, at)
	if e.instance != was {
		foretoldKills.Inc()
	}
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
