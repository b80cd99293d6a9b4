package registry

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// sink is a Handler that counts updates, and holds what it is said to.
type sink struct {
	updates int
	digest  Digest
}

func (*sink) BeginList(int64, bool)  {}
func (*sink) List([]Entry)           {}
func (*sink) EndList() int64         { return 1 }
func (*sink) Replay(int64, []Change) {}
func (s *sink) Update(es []Entry)    { s.updates += len(es) }
func (*sink) Confirm()               {}
func (s *sink) Digest() Digest       { return s.digest }
func (*sink) Tick(time.Time)         {}

// What a watch brings first must be the last change once more. Between the read
// that looked for it and the watch another history may have come.
func TestWatchBeginsWithTheLastChange(t *testing.T) {
	t.Parallel()
	event := func(key, value string, revision int64) *mvccpb.Event {
		kv := &mvccpb.KeyValue{Key: []byte(key), ModRevision: revision}
		if value == "" {
			return &mvccpb.Event{Type: mvccpb.DELETE, Kv: kv}
		}
		kv.Value, kv.CreateRevision = []byte(value), revision
		return &mvccpb.Event{Kv: kv}
	}
	put, deletion := Entry{Key: "a", Value: []byte("1"), ModRevision: 5}, Entry{Key: "a", ModRevision: 5}
	for _, c := range []struct {
		name    string
		last    Entry
		events  []*mvccpb.Event
		updates int
		wrong   bool
	}{
		{"the last change, and a new one", put, []*mvccpb.Event{event("a", "1", 5), event("b", "1", 6)}, 1, false},
		{"the last change alone", put, []*mvccpb.Event{event("a", "1", 5)}, 0, false},
		{"one of several of its revision", put, []*mvccpb.Event{event("z", "1", 5), event("a", "1", 5), event("b", "1", 6)}, 1, false},
		{"a deletion, and a new one", deletion, []*mvccpb.Event{event("a", "", 5), event("b", "1", 6)}, 1, false},
		{"a new one alone", put, []*mvccpb.Event{event("b", "1", 6)}, 0, true},
		{"another value", put, []*mvccpb.Event{event("a", "2", 5), event("b", "1", 6)}, 0, true},
		{"another key", put, []*mvccpb.Event{event("b", "1", 5), event("b", "1", 6)}, 0, true},
		{"a deletion for a put", put, []*mvccpb.Event{event("a", "", 5), event("b", "1", 6)}, 0, true},
		{"a put for a deletion", deletion, []*mvccpb.Event{event("a", "1", 5), event("b", "1", 6)}, 0, true},
	} {
		s := &sink{}
		f := &Follower{handler: s, log: slog.New(slog.DiscardHandler), rev: 5, last: c.last}
		w := &watch{f: f}
		if err := w.update(c.events); errors.Is(err, errUnproven) != c.wrong || s.updates != c.updates {
			t.Errorf("%s: %v, %d new changes; want another history: %t, %d", c.name, err, s.updates, c.wrong, c.updates)
		}
	}
}

// A census of a later revision than the index's may be ahead of changes that
// are on their way: only what stays is a difference.
func TestDoubtNeedsTime(t *testing.T) {
	t.Parallel()
	var theirs, others Digest
	theirs.Set("a", 0, 1)
	others.Set("a", 0, 2)
	for _, c := range []struct {
		name string
		// holds and at are what the index holds, by when; left is what is left
		// of the time to wait.
		holds      Digest
		at         int64
		left       time.Duration
		stays      bool
		incomplete bool
	}{
		{"equal at once", theirs, 5, time.Minute, false, false},
		{"equal at last", theirs, 5, -1, false, false},
		{"not equal yet", others, 5, time.Minute, true, false},
		{"not equal in the end", others, 5, -1, false, true},
		{"past it by now", others, 8, time.Minute, false, false},
		{"past it in the end", others, 8, -1, false, false},
	} {
		f := &Follower{handler: &sink{digest: c.holds}, log: slog.New(slog.DiscardHandler), client: &Client{layout: Layout{rack: "doubt"}}, rev: c.at}
		w := &watch{f: f, doubt: &doubt{census{theirs: theirs, revision: 7}, time.Now().Add(c.left)}}
		err := w.settle()
		if errors.Is(err, errIncomplete) != c.incomplete || (w.doubt != nil) != c.stays {
			t.Errorf("%s: %v, doubts: %t; want a difference: %t, doubts: %t", c.name, err, w.doubt != nil, c.incomplete, c.stays)
		}
	}
}

// Checks are spread, and rarer where there are many servers and much to read.
func TestChecksArePlanned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		nodes int
		took  time.Duration
		mean  time.Duration
	}{
		{"an empty rack", 0, time.Millisecond, 5 * time.Minute},
		{"a small one", 10, 10 * time.Millisecond, 5 * time.Minute},
		{"many nodes", 500, 200 * time.Millisecond, 1000 * time.Second},
		{"more than etcd can bear", 1000, time.Minute, 12 * time.Hour},
	} {
		var least, most time.Duration
		for n := range 200 {
			s := checks{every: 5 * time.Minute}
			s.plan(&census{nodes: c.nodes, took: c.took})
			d := time.Until(s.next)
			if n == 0 {
				least = d
			}
			least, most = min(least, d), max(most, d)
		}
		if least < c.mean*4/5-time.Minute || most > c.mean*6/5 || most-least < c.mean/10 {
			t.Errorf("%s: the next check is in %s to %s, want about %s", c.name, least, most, c.mean)
		}
	}
}
