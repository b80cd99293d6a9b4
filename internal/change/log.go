package change

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/index"
)

// keptEvents is how many a Log remembers at least.
const keptEvents = 4096

// keptFor is how long a Log that nobody reads remembers them, for those who come
// again.
const keptFor = time.Minute

// Position is a place in a Log: after the Nth event of a picture.
type Position struct {
	Index int64
	N     int
}

// String returns the position as [ParsePosition] takes it.
func (p Position) String() string {
	if p.N == everyN {
		return strconv.FormatInt(p.Index, 10)
	}
	return fmt.Sprintf("%d.%d", p.Index, p.N)
}

// End returns the place after all events of a picture.
func End(index int64) Position { return Position{index, everyN} }

// everyN is after all events of a picture.
const everyN = int(^uint(0) >> 1)

// ParsePosition takes a position, or the number of a picture for the place after
// all of its events.
func ParsePosition(s string) (Position, error) {
	at, n, has := strings.Cut(s, ".")
	p := Position{N: everyN}
	var err error
	if p.Index, err = strconv.ParseInt(at, 10, 64); err == nil && has {
		p.N, err = strconv.Atoi(n)
	}
	if err != nil || p.Index < 0 || p.N < 0 {
		return Position{}, errors.New("want a position such as 1234.1, or an index")
	}
	return p, nil
}

func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Index, q.Index), cmp.Compare(p.N, q.N))
}

// Entry is an event and where it is.
type Entry struct {
	Event
	At Position
}

// Log remembers the last events of one index, for readers that come again. The
// readers move it on themselves, so that it costs nothing without any.
type Log struct {
	mu      sync.Mutex
	readers int
	last    *index.Snapshot
	entries []Entry
	// since is the index from which on it is complete.
	since  int64
	forget *time.Timer
}

// Open is called by who begins to read. It returns the place after everything that
// there was in s, and what to call in the end.
func (l *Log) Open(s *index.Snapshot) (now Position, end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
	if l.forget != nil {
		l.forget.Stop()
		l.forget = nil
	}
	l.take(s)
	return End(l.last.Index()), sync.OnceFunc(l.leave)
}

func (l *Log) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers--; l.readers > 0 {
		return
	}
	l.forget = time.AfterFunc(keptFor, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.readers == 0 {
			l.last, l.entries = nil, nil
		}
	})
}

// take moves the log on to a picture.
func (l *Log) take(s *index.Snapshot) {
	switch {
	case l.last == nil:
		l.last, l.since = s, s.Index()
		return
	case s.Index() <= l.last.Index():
		return
	}
	for n, e := range Between(l.last, s, time.Now()) {
		l.entries = append(l.entries, Entry{e, Position{s.Index(), n + 1}})
	}
	l.last = s
	if gone := len(l.entries) - keptEvents; gone > keptEvents {
		l.since = l.entries[gone-1].At.Index
		l.entries = slices.Clone(l.entries[gone:])
	}
}

// After returns the events after a position, up to s, and the index up to which
// they are all that there were. It returns false if the position is too old to
// tell, or of another log. The caller must not change the events.
func (l *Log) After(s *index.Snapshot, p Position) (events []Entry, upTo int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(s)
	upTo = l.last.Index()
	if p.Index < l.since || p.Index > upTo {
		return nil, upTo, false
	}
	from, _ := slices.BinarySearchFunc(l.entries, p, func(e Entry, p Position) int {
		if e.At.compare(p) <= 0 {
			return -1
		}
		return 1
	})
	return l.entries[from:len(l.entries):len(l.entries)], upTo, true
}
