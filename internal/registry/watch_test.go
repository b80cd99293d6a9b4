package registry

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// sink is a Handler that counts updates.
type sink struct{ updates int }

func (*sink) BeginList(int64, bool)  {}
func (*sink) List([]Entry)           {}
func (*sink) EndList() int64         { return 1 }
func (*sink) Replay(int64, []Change) {}
func (s *sink) Update(es []Entry)    { s.updates += len(es) }
func (*sink) Confirm()               {}
func (*sink) Digest() (d Digest)     { return d }
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
