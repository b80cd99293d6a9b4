package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
)

// fate is what a signal does to the first process of a container.
type fate uint8

const (
	// unknownFate is that of a process that this host's /proc doesn't show.
	unknownFate fate = iota
	// ending is that of one that catches the signal, however long it takes.
	ending
	// surviving is that of one that the signal doesn't reach.
	surviving
)

var (
	errCatches = errors.New("its first process catches the signal, and so is ending")
	errUnseen  = errors.New("this host's /proc doesn't show what its first process does with the signal")
	errKilled  = errors.New("nothing survives SIGKILL")
)

// fateOf reads from /proc what a signal does to the container's first process.
func fateOf(f *facts, signal int) fate {
	p, err := openInit(f)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, unix.ESRCH):
		return ending
	case err != nil:
		return unknownFate
	}
	defer p.close()
	threads, err := readThreads(fmt.Sprintf("/proc/%d/task", p.pid))
	if err != nil || p.ended() {
		return ending
	}
	return fateByThreads(threads, signal, !f.pidMode.IsHost() && !f.pidMode.IsContainer())
}

// thread is one of a process's, by its files in /proc.
type thread struct {
	status string
	// waits are where in the kernel it waited before and after that was read:
	// "0" if it didn't, or if that is nothing for us to know.
	waits [2]string
}

func readThreads(dir string) ([]thread, error) {
	ids, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []thread
	for _, id := range ids {
		at := filepath.Join(dir, id.Name())
		before, errB := os.ReadFile(filepath.Join(at, "wchan"))
		status, errS := os.ReadFile(filepath.Join(at, "status"))
		after, errA := os.ReadFile(filepath.Join(at, "wchan"))
		if errors.Join(errB, errS, errA) == nil {
			// Others have just ended.
			all = append(all, thread{string(status), [2]string{string(before), string(after)}})
		}
	}
	return all, nil
}

// takes reports whether the thread waits for signals by sigtimedwait(2), as
// docker-init does: it blocks them then, though the kernel says otherwise.
func (t *thread) takes() bool {
	return strings.Contains(t.waits[0], "sigtimedwait") || strings.Contains(t.waits[1], "sigtimedwait")
}

// isSeen reports whether it is known where the thread waits.
func (t *thread) isSeen() bool { return strings.Trim(t.waits[0]+t.waits[1], "0") != "" }

// has reports whether a set of signals has one, and if there is such a set.
func (t *thread) has(set string, signal int) (is, ok bool) {
	for line := range strings.Lines(t.status) {
		if text, found := strings.CutPrefix(line, set+":"); found {
			bits, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return bits>>(signal-1)&1 == 1, err == nil
		}
	}
	return false, false
}

// fateByThreads reads it from all threads of a process, see
// proc_pid_status(5). init says that the process is the first of its PID
// namespace, which no signal but SIGKILL and SIGSTOP reaches that it hasn't asked
// for: pid_namespaces(7).
func fateByThreads(threads []thread, signal int, init bool) fate {
	caught, ignored, blocked, seen := false, false, true, false
	for n := range threads {
		t := &threads[n]
		blocks, okB := t.has("SigBlk", signal)
		ignores, okI := t.has("SigIgn", signal)
		catches, okC := t.has("SigCgt", signal)
		if !okB || !okI || !okC {
			return unknownFate
		}
		caught, ignored = caught || catches || t.takes(), ignored || ignores
		// One thread that doesn't block it is enough.
		blocked, seen = blocked && blocks, seen || t.isSeen()
	}
	switch {
	case len(threads) == 0:
		return unknownFate
	case caught, blocked:
		// Who blocks it may take it by other means, such as signalfd(2).
		return ending
	case ignored:
		return surviving
	case init && seen:
		return surviving
	case init:
		return unknownFate
	}
	switch unix.Signal(signal) {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return surviving
	}
	return ending
}

// askFate finds out what the stop signal does to a container that was just sent
// it. What is seen first counts: a handler may be gone once it was called. It
// takes a goroutine of its own, since events must not wait for anything.
func (t *tracker) askFate(id string, e *entry) {
	f := e.facts
	if f == nil || e.fate == ending && e.fateRun.Equal(f.started) {
		return
	}
	e.fate, e.fateRun, e.asking = unknownFate, f.started, true
	t.watching.Go(func() {
		is := t.fateOf(f, f.stopSignal)
		t.mu.Lock()
		defer t.mu.Unlock()
		e := t.entries[id]
		if e == nil || !e.fateRun.Equal(f.started) {
			return
		}
		e.asking = false
		if e.fate == ending || is == unknownFate {
			return
		}
		e.fate = is
		if is == surviving && e.instance != nil && e.instance.Draining {
			// If its time is over it may serve again.
			t.queue.add(id, hot)
		}
	})
}

// outlives decides about a container that still runs when it should have ended
// of a signal: true is that it has proven to survive it.
func (t *tracker) outlives(id string, e *entry, last kill) bool {
	after := e.facts.stopTimeout + t.grace
	if last.number != int(unix.SIGKILL) && e.fateRun.Equal(e.facts.started) && e.fate == surviving {
		e.survived = last.at
		t.log.Warn("container ignores its stop signal: it serves again", "container", shortID(id),
			"name", registry.Quote(e.facts.name), "signal", unix.SignalName(unix.Signal(last.number)), "after", after)
		return true
	}
	why := errKilled
	if last.number != int(unix.SIGKILL) {
		if why = errCatches; e.fate != ending {
			if why = errUnseen; e.asking {
				return false
			}
			t.askFate(id, e)
		}
	}
	if e.lingering == nil {
		e.lingering = lasting.New(t.log)
	}
	e.lingering.Note("container still runs after its stop signal: nobody is told of it until it ends or is started anew", why,
		"container", shortID(id), "name", registry.Quote(e.facts.name), "sent", last.at.UTC().Format(time.RFC3339))
	return false
}
