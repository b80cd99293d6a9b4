package httpapi_test

import (
	"errors"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
)

// An answer is made once for all who ask at the same moment, anew when what it is of
// is another, for another question, and when it is too old.
func TestCache(t *testing.T) {
	t.Parallel()
	c := httpapi.Cache[string]{}
	var made atomic.Int32
	ask := func(key string, of any) string {
		w := httptest.NewRecorder()
		if err := c.Answer(w, key, of, func() (any, error) {
			return made.Add(1), nil
		}); err != nil {
			t.Error(err)
		}
		return w.Body.String()
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { ask("a", 1) })
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("it was made %d times for a hundred", made.Load())
	}
	for _, tt := range []struct {
		key  string
		of   any
		want string
	}{{"a", 1, "1\n"}, {"a", 2, "2\n"}, {"b", 2, "3\n"}, {"a", 2, "2\n"}, {"a", 1, "4\n"}} {
		if got := ask(tt.key, tt.of); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
	failed := errors.New("failed")
	err := c.Answer(httptest.NewRecorder(), "c", 1, func() (any, error) { return nil, failed })
	if !errors.Is(err, failed) {
		t.Error(err)
	}
	if got := ask("c", 1); got != "5\n" {
		t.Errorf("after a failure: %q", got)
	}
}

// What is too old is made anew.
func TestCacheLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := httpapi.Cache[string]{Lasts: time.Second}
		made := 0
		for n, want := range []string{"1\n", "1\n", "2\n"} {
			w := httptest.NewRecorder()
			if err := c.Answer(w, "a", 1, func() (any, error) { made++; return made, nil }); err != nil || w.Body.String() != want {
				t.Errorf("%d: %q, %v; want %q", n, w.Body, err, want)
			}
			time.Sleep(600 * time.Millisecond)
		}
	})
}
