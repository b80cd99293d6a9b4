package httpapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/index"
)

// IndexHeader says which picture an answer is of.
const IndexHeader = "Rackdns-Index"

// How long a blocking read waits.
const (
	defaultWait = 30 * time.Second
	longestWait = 10 * time.Minute
)

// Many reads that end at once are spread, so that their work isn't done all at
// once: each waits for a random part of what all of them together would take.
const (
	fewReads   = 64
	timePer    = 15 * time.Microsecond
	mostSpread = 150 * time.Millisecond
)

// answerTimeout is how long a client may take to read an answer for which it has
// waited.
const answerTimeout = 10 * time.Second

// Depends says on which names an answer depends, as [index.Index.Await] takes
// them. It returns none, as a nil one does, for an answer that depends on everything.
type Depends func(*index.Snapshot) []string

// App is what an answer about an app depends on, which may be known by its name
// or its namespace.
func App(name string) Depends {
	return func(s *index.Snapshot) []string {
		name := Fold(name)
		all := []string{index.Below(name)}
		if a := s.App(name); a != nil && a.Name != name {
			all = append(all, index.Below(a.Name))
		}
		return all
	}
}

// Service is what an answer about one service depends on.
func Service(app, service string) Depends {
	return func(s *index.Snapshot) []string {
		return s.Sources(Fold(service) + "." + Fold(app))
	}
}

// Nodes is what an answer about the nodes themselves depends on.
func Nodes(*index.Snapshot) []string { return []string{index.Below(index.LabelNode)} }

// Read returns the picture to answer with, and has the answer say its index. With
// ?index=N it waits until something that the answer depends on has changed after
// N, or until ?wait=30s is over. The error is a 4xx, a 503, or that the client has
// this answer already (304).
func (r *Request) Read(on Depends) (*index.Snapshot, error) {
	q, err := r.Query()
	if err != nil {
		return nil, err
	}
	since, wait, err := blocking(q.Get("index"), q.Get("wait"))
	if err != nil {
		return nil, err
	}
	s, err := r.Wait(since, wait, on)
	if err != nil {
		return nil, err
	}
	return s, r.tell(s)
}

// tell sets what an answer says of its picture.
func (r *Request) tell(s *index.Snapshot) error {
	at := strconv.FormatInt(s.Index(), 10)
	etag := `"` + at + `"`
	h := r.w.Header()
	h.Set(IndexHeader, at)
	h.Set("ETag", etag)
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Rack")
	if has(r.Header.Values("If-None-Match"), etag) {
		return errNotModified
	}
	return nil
}

// has reports whether an entity tag is among those of a header. A proxy that
// compresses answers makes it a weak one.
func has(values []string, etag string) bool {
	for _, v := range values {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// blocking takes the parameters of a blocking read; since is negative for one that
// doesn't block.
func blocking(index, wait string) (since int64, d time.Duration, err error) {
	d = defaultWait
	if wait != "" {
		if d, err = time.ParseDuration(wait); err != nil || d < 0 {
			return 0, 0, Errorf(http.StatusBadRequest, "wait %s: want a duration such as 30s", Quote(wait))
		}
		d = min(d, longestWait)
	}
	if index == "" {
		return -1, d, nil
	}
	since, err = strconv.ParseInt(index, 10, 64)
	if err != nil || since < 0 {
		return 0, 0, Errorf(http.StatusBadRequest, "index %s: want what %s said", Quote(index), IndexHeader)
	}
	return since, d, nil
}

// Wait returns the rack's picture as soon as what an answer depends on may have
// changed after the index since, or when the time is over; at once for a negative
// since, and for one that this server doesn't have yet: it is another's, or from
// before a restart. The error is a 503, or that the client has gone.
func (r *Request) Wait(since int64, wait time.Duration, on Depends) (*index.Snapshot, error) {
	x, err := r.Rack.Index()
	if err != nil {
		return nil, err
	}
	s, err := r.Rack.Snapshot()
	if err != nil || since < 0 || wait <= 0 || s.Index() < since {
		return s, err
	}
	var names []string
	if on != nil {
		names = on(s)
	}
	// Neither how long a request may take to come, nor an answer to go, counts
	// while there is none.
	if err := undated(r.w); err != nil {
		return nil, err
	}
	blocked := r.server.blocked.Add(1)
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	stop := context.AfterFunc(r.server.closing, cancel)
	next, err := x.Await(ctx, since, names...)
	if err == nil && next != s {
		spread(ctx, blocked)
		next = x.Snapshot()
	}
	stop()
	cancel()
	r.server.blocked.Add(-1)
	if r.Context().Err() != nil {
		return nil, errGone
	}
	return next, dated(r.w, answerTimeout)
}

var errGone = errors.New("the client has gone")

// spread waits for the turn of one of many.
func spread(ctx context.Context, many int64) {
	if many <= fewReads {
		return
	}
	t := time.NewTimer(rand.N(min(time.Duration(many)*timePer, mostSpread)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
