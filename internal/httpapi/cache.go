package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Cache keeps encoded answers for as long as what they are of stays: many ask the
// same, and at the same moment where they waited for one change. K tells questions
// apart, client and all.
type Cache[K comparable] struct {
	// Lasts is how long an answer is used at most, without end if 0.
	Lasts time.Duration

	mu      sync.Mutex
	entries map[K]*cached
}

type cached struct {
	// mu is held by who makes the answer: the others wait, and use it.
	mu   sync.Mutex
	of   any
	at   time.Time
	body []byte
}

// mostCached is how many answers are kept. Where there are more it begins anew.
const mostCached = 4096

func (c *Cache[K]) entry(key K) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		if c.entries == nil || len(c.entries) >= mostCached {
			c.entries = map[K]*cached{}
		}
		e = &cached{}
		c.entries[key] = e
	}
	return e
}

// Answer answers with what produce returns, as JSON, or with what it returned for an
// equal key, if of is what it was then. Of is comparable, and never the same for two
// different states.
func (c *Cache[K]) Answer(w http.ResponseWriter, key K, of any, produce func() (any, error)) error {
	body, err := c.entry(key).get(of, c.Lasts, produce)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, err = w.Write(body)
	return err
}

func (e *cached) get(of any, lasts time.Duration, produce func() (any, error)) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.body != nil && e.of == of && (lasts == 0 || time.Since(e.at) < lasts) {
		return e.body, nil
	}
	at := time.Now()
	v, err := produce()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := encoder(&b).Encode(v); err != nil {
		return nil, err
	}
	e.of, e.at, e.body = of, at, b.Bytes()
	return e.body, nil
}
