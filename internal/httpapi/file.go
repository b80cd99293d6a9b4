package httpapi

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/lasting"
)

// lookAgain is how often at most it is looked whether a file has changed.
const lookAgain = time.Second

// reloaded is what files say, read again when they change. What can't be read
// leaves what there was.
type reloaded[T any] struct {
	paths   []string
	read    func() (T, error)
	trouble *lasting.Trouble
	what    string

	mu     sync.Mutex
	value  T
	stamps []stamp
	looked time.Time
}

// stamp tells a file from what it was.
type stamp struct {
	changed time.Time
	size    int64
	file    os.FileInfo
}

func (s stamp) same(o stamp) bool {
	if s.file == nil || o.file == nil {
		return s.file == o.file
	}
	return s.changed.Equal(o.changed) && s.size == o.size && os.SameFile(s.file, o.file)
}

// reload reads files for the first time, and returns what is wrong if anything is.
func reload[T any](what string, log *slog.Logger, read func() (T, error), paths ...string) (*reloaded[T], error) {
	r := &reloaded[T]{paths: paths, read: read, trouble: lasting.New(log), what: what}
	r.stamps, r.looked = r.stamp(), time.Now()
	var err error
	r.value, err = read()
	return r, err
}

func (r *reloaded[T]) stamp() []stamp {
	all := make([]stamp, len(r.paths))
	for n, p := range r.paths {
		if f, err := os.Stat(p); err == nil {
			all[n] = stamp{f.ModTime(), f.Size(), f}
		}
	}
	return all
}

// get returns what the files say now.
func (r *reloaded[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.looked) < lookAgain {
		return r.value
	}
	r.looked = now
	// Before they are read: what changes meanwhile is read next time.
	is := r.stamp()
	same := true
	for n := range is {
		same = same && is[n].same(r.stamps[n])
	}
	if same {
		return r.value
	}
	value, err := r.read()
	if err != nil {
		// The stamps stay, so that it is tried again.
		r.trouble.Note("can't read "+r.what+" again: going on with what it was", err)
		return r.value
	}
	r.trouble.Over("read " + r.what + " again")
	r.value, r.stamps = value, is
	return value
}
