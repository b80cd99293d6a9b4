package agent

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/registry"
)

// watch has the agent notice the end of a container's process by itself, if it
// can. If not, the engine's events tell of it, as they do anyway.
func (a *Agent) watch(id string, e *entry, f *facts) {
	if !a.tracker.watchable(id, e) {
		return
	}
	// It is published by now: this need not be fast, and may wait for locks of
	// the kernel's that others hold while they start containers.
	p, err := openInit(f)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, unix.ESRCH), errors.Is(err, os.ErrNotExist):
		// It was quicker: that says nothing of others.
		return
	case err != nil:
		a.unwatched.Do(func() {
			a.log.Info("can't watch the process of a container: its end, and that of others like it, is known by the engine's events",
				"container", shortID(id), "name", registry.Quote(f.name), "error", err)
		})
		return
	}
	a.tracker.watch(id, e, p)
}

// watchable reports whether a container's process should be watched, and isn't
// yet. Only that of a registered one matters.
func (t *tracker) watchable(id string, e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries[id] == e && e.instance != nil && e.init == nil && !e.over()
}

// watch waits for the end of a container's process, in a goroutine of its own,
// unless the container died or began another run meanwhile.
func (t *tracker) watch(id string, e *entry, p *initProcess) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries[id] != e || e.init != nil || !p.runs(e.facts) {
		p.close()
		return
	}
	e.init = p
	watchedProcesses.Inc()
	t.watching.Go(func() {
		err := p.wait()
		t.ended(id, p, time.Now(), err)
	})
}

// ended takes in that a process is not watched any more, which without an error
// is its end. The engine will take a while to say so, and may say meanwhile that
// the container runs. An inspect would not help: it waits for the engine to be
// done with the container.
func (t *tracker) ended(id string, p *initProcess, at time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil || e.init != p {
		return
	}
	t.unwatch(e)
	if err != nil {
		return
	}
	e.ended = p.started
	if e.instance != nil {
		t.drain(e, at)
	}
}

// over reports whether the process of the container's present run is known to
// have ended, whatever the engine says.
func (e *entry) over() bool {
	return !e.ended.IsZero() && e.facts != nil && e.facts.started.Equal(e.ended)
}

// unwatch ends the watching of a container's process.
func (t *tracker) unwatch(e *entry) {
	if e.init == nil {
		return
	}
	e.init.stop()
	e.init = nil
	watchedProcesses.Dec()
}

// unwatchAll ends all watching, for good.
func (t *tracker) unwatchAll() {
	t.mu.Lock()
	for _, e := range t.entries {
		t.unwatch(e)
	}
	t.mu.Unlock()
	t.watching.Wait()
}
