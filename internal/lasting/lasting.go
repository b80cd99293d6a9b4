// Package lasting logs troubles that last: once when one begins, again when it
// has another reason and every ten minutes for as long as it lasts, and once
// when it is over. Retries in between say nothing, and yet whoever reads the
// last hour of a log finds it, and why it lasts, not only why it began.
package lasting

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// Interval is the time after which a trouble that lasts is logged again.
	Interval = 10 * time.Minute
	// maxReasons bounds how many reasons are told of one trouble in an interval,
	// since an error may name a port that is another one each time.
	maxReasons = 4
)

// Trouble is one kind of trouble, which is there or isn't. The methods may be
// called at the same time.
type Trouble struct {
	log *slog.Logger
	now func() time.Time

	mu sync.Mutex
	// since and said are zero while there is no trouble.
	since, said time.Time
	// told and asked are the reasons that [Trouble.Note] has logged and
	// [Trouble.Due] was asked for, since said.
	told, asked reasons
}

// reasons are texts of errors, at most maxReasons.
type reasons []string

// news reports whether err was not among them, and adds it.
func (r *reasons) news(err error) bool {
	text := err.Error()
	if len(*r) >= maxReasons || slices.Contains(*r, text) {
		return false
	}
	*r = append(*r, text)
	return true
}

// New returns a Trouble that isn't there, and logs to log.
func New(log *slog.Logger) *Trouble { return NewClock(log, time.Now) }

// NewClock is New with another clock than the system's.
func NewClock(log *slog.Logger, now func() time.Time) *Trouble {
	return &Trouble{log: log, now: now}
}

// Note says that the trouble is there, and why. It logs what, a message like
// "can't write to the registry", as a warning with the error and attrs, if that
// is due: when the trouble begins, for a reason that it didn't have before, and
// then once per [Interval], with the time since when it lasts. Note reports
// whether it has logged.
func (t *Trouble) Note(what string, err error, attrs ...any) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.due(now) {
		t.said, t.told = now, nil
	}
	if !t.told.news(err) {
		return false
	}
	// A copy: the caller's slice may have room behind its end.
	attrs = append([]any{"error", err}, attrs...)
	if t.since.IsZero() {
		t.since = now
	} else {
		attrs = append(attrs, "since", t.since.UTC().Truncate(time.Second), "lasted", now.Sub(t.since).Round(time.Second))
	}
	t.log.Warn(what, attrs...)
	return true
}

// Due reports whether Note may log now. It is for those that look for a better
// reason than err, which costs something: for one err it is worth it once.
func (t *Trouble) Due(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.due(t.now())
	if due {
		t.asked = nil
	}
	return t.asked.news(err) || due
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
	t.since, t.said, t.told, t.asked = time.Time{}, time.Time{}, nil, nil
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
