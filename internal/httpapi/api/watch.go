package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/change"
	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
)

// keepAlive is how often a stream without changes says that it lives, so that both
// ends, and what is between, know.
const keepAlive = 15 * time.Second

// watches are the logs of the racks that are watched.
type watches struct {
	mu   sync.Mutex
	logs map[*httpapi.Rack]*change.Log
}

func newWatches() *watches { return &watches{logs: map[*httpapi.Rack]*change.Log{}} }

func (w *watches) logOf(k *httpapi.Rack) *change.Log {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logs[k] == nil {
		w.logs[k] = &change.Log{}
	}
	return w.logs[k]
}

// watch streams changes as server-sent events: "ready" first, then a "change" for
// each, whose ID a client that was cut off gives back in Last-Event-ID; "reset" in
// its place where that can't be told any more, so that the client reads everything
// again.
func (w *watches) watch(rw http.ResponseWriter, r *httpapi.Request) error {
	q, err := query(r, "app")
	if err != nil {
		return err
	}
	var from *change.Position
	if last := cmp.Or(r.Header.Get("Last-Event-ID"), q("index")); last != "" {
		p, err := change.ParsePosition(last)
		if err != nil {
			return httpapi.Errorf(http.StatusBadRequest, "Last-Event-ID %s: %v", httpapi.Quote(last), err)
		}
		from = &p
	}
	x, err := r.Rack.Index()
	if err != nil {
		return err
	}
	s, err := r.Rack.Snapshot()
	if err != nil {
		return err
	}
	log := w.logOf(r.Rack)
	now, end := log.Open(s)
	defer end()
	h := rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep it back
	t := stream{r: r, log: log, app: q("app"), at: now}
	if from != nil {
		t.at = *from
	}
	if err := t.say("ready", t.at.String(), map[string]int64{"index": now.Index}); err != nil {
		return nil
	}
	// Whatever ends it, the client comes again.
	_ = t.run(x, s)
	return nil
}

// stream is what one client reads.
type stream struct {
	r   *httpapi.Request
	log *change.Log
	app string
	at  change.Position
}

func (t *stream) run(x *index.Index, s *index.Snapshot) error {
	ctx := t.r.Context()
	for {
		if err := t.tell(s); err != nil {
			return err
		}
		next, err := t.await(ctx, x, s.Index())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if err := t.r.Flush([]byte(": \n\n")); err != nil {
				return err
			}
		default:
			s = next
		}
	}
}

// await waits for a change of what the client wants to hear of.
func (t *stream) await(ctx context.Context, x *index.Index, since int64) (*index.Snapshot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepAlive, errQuiet)
	defer cancel()
	var names []string
	if t.app != "" {
		names = httpapi.App(t.app)(x.Snapshot())
	}
	return x.Await(ctx, since, names...)
}

var errQuiet = errors.New("nothing has changed")

// tell writes what has changed up to a picture.
func (t *stream) tell(s *index.Snapshot) error {
	events, upTo, ok := t.log.After(s, t.at)
	if !ok {
		t.at = change.End(upTo)
		return t.say("reset", t.at.String(), map[string]any{"index": upTo, "why": "what changed since is not known any more: read everything again"})
	}
	for _, e := range events {
		if len(change.Of(t.app, s, []change.Event{e.Event})) > 0 {
			if err := t.say("change", e.At.String(), e.Event); err != nil {
				return err
			}
		}
		t.at = e.At
	}
	return nil
}

// say writes one event.
func (t *stream) say(event, id string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %s\ndata: %s\n\n", event, id, text)
	return t.r.Flush(b.Bytes())
}
