// Package lasting logs troubles that last: once when one begins, again every
// ten minutes for as long as it lasts and when it turns into another kind, and
// once when it is over. Retries in between say nothing, and yet whoever reads the
// last hour of a log finds it, and why it lasts, not only why it began.
package lasting

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Interval is the time after which a trouble that lasts is logged again.
const Interval = 10 * time.Minute

// Trouble is one kind of trouble, which is there or isn't. The methods may be
// called at the same time.
type Trouble struct {
	log *slog.Logger
	now func() time.Time

	mu sync.Mutex
	// since and said are zero while there is no trouble.
	since, said time.Time
	// kinds are those that it had since said.
	kinds []string
}

// New returns a Trouble that isn't there, and logs to log.
func New(log *slog.Logger) *Trouble { return NewClock(log, time.Now) }

// NewClock is New with another clock than the system's.
func NewClock(log *slog.Logger, now func() time.Time) *Trouble {
	return &Trouble{log: log, now: now}
}

// Note says that the trouble is there, and why. It logs what, a message like
// "can't write to the registry", as a warning with the error and attrs, if that
// is due: when the trouble begins, and then once per [Interval], with the time
// since when it lasts. Note reports whether it has logged.
func (t *Trouble) Note(what string, err error, attrs ...any) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if !t.due(now) {
		return false
	}
	// A copy: the caller's slice may have room behind its end.
	attrs = append([]any{"error", err}, attrs...)
	if t.since.IsZero() {
		t.since = now
	} else {
		attrs = append(attrs, "since", t.since.UTC().Truncate(time.Second), "lasted", now.Sub(t.since).Round(time.Second))
	}
	t.said = now
	t.log.Warn(what, attrs...)
	return true
}

// Turn says of which kind the trouble is by now, such as "password": one that
// began as an outage may last because etcd is back with other users. Note is due
// again for a kind that the trouble has not had since it was told last. An
// empty kind changes nothing.
func (t *Trouble) Turn(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due(t.now()) {
		t.kinds = nil
	}
	if kind == "" || slices.Contains(t.kinds, kind) {
		return
	}
	t.kinds = append(t.kinds, kind)
	t.said = time.Time{}
}

// Due reports whether Note would log now. It is for reasons that cost something
// to find out.
func (t *Trouble) Due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.due(t.now())
}

func (t *Trouble) due(now time.Time) bool {
	return t.said.IsZero() || now.Sub(t.said) >= Interval
}

// Over says that there is no trouble. If there was, it logs what, a message
// like "the registry is back", with how long that took, and reports true.
func (t *Trouble) Over(what string, attrs ...any) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return false
	}
	t.log.Info(what, append([]any{"lasted", t.now().Sub(t.since).Round(time.Millisecond)}, attrs...)...)
	t.since, t.said, t.kinds = time.Time{}, time.Time{}, nil
	return true
}

// Since returns when the trouble began, the zero time if there is none.
func (t *Trouble) Since() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since
}

// Lasts reports whether the trouble is there.
func (t *Trouble) Lasts() bool { return !t.Since().IsZero() }
