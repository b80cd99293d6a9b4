package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
)

func TestReadSaysItsIndex(t *testing.T) {
	t.Parallel()
	rack := apitest.NewRack(t, "acme", apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001))
	h := server(t, true, rack)
	w := apitest.Get(t, h, "/service/web")
	at := strconv.FormatInt(rack.IndexNow(), 10)
	if w.Code != 200 || w.Header().Get(httpapi.IndexHeader) != at || w.Header().Get("ETag") != `"`+at+`"` {
		t.Fatalf("%d %v, want index %s", w.Code, w.Header(), at)
	}
	ask := func(match string) *httptest.ResponseRecorder {
		r := apitest.Request(t, "GET", "/service/web", apitest.Local, "")
		r.Header.Set("If-None-Match", match)
		return apitest.Do(t, h, r)
	}
	for _, match := range []string{`"` + at + `"`, `"1x", W/"` + at + `"`, "*"} {
		if w := ask(match); w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("ETag") == "" {
			t.Errorf("If-None-Match %s: %d %s", match, w.Code, w.Body)
		}
	}
	rack.Put(apitest.Instance("8db3b9378db0", "shop", "web", "node-1", "10.0.2.10", 40002))
	if w := ask(`"` + at + `"`); w.Code != 200 {
		t.Errorf("after a change: %d", w.Code)
	}
}

func TestNotYetRead(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?index=1&wait=1h"} {
		w := apitest.Get(t, server(t, true, apitest.Unread(t, "acme")), "/service/web"+query)
		if refuses(t, w); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// A blocking read ends with a change of what it shows, and with no other, or with
// its time.
func TestBlockingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack := apitest.NewRack(t, "acme", apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001))
		h := server(t, true, rack)
		at := strconv.FormatInt(rack.IndexNow(), 10)
		answered := make(chan string, 1)
		ask := func(query string) {
			go func() {
				w := apitest.Get(t, h, "/service/web"+query)
				answered <- strconv.Itoa(w.Code) + " " + w.Body.String()
			}()
			synctest.Wait()
		}
		blocks := func(what string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-answered:
				t.Fatalf("%s: %s, want it to wait", what, got)
			default:
			}
		}
		begin := time.Now()
		ask("?index=" + at + "&wait=1m")
		blocks("at first")
		rack.Put(apitest.Instance("8db3b9378db0", "shop", "api", "node-1", "10.0.2.10", 40002))
		blocks("after a change of another")
		rack.Put(apitest.Instance("0a0a0a0a0a0a", "shop", "web", "node-1", "10.0.2.10", 40003))
		if got := <-answered; got != "200 2\n" || time.Since(begin) != 0 {
			t.Errorf("after a change: %q after %s", got, time.Since(begin))
		}
		for query, want := range map[string]time.Duration{
			"?wait=1m":                      0, // without an index it doesn't wait
			"?index=" + at + "&wait=1m":     0, // it has changed meanwhile
			"?index=999999&wait=1m":         0, // of another server
			"?index=" + now(rack):           30 * time.Second,
			"?wait=7s&index=" + now(rack):   7 * time.Second,
			"?wait=0s&index=" + now(rack):   0,
			"?wait=999h&index=" + now(rack): 10 * time.Minute,
		} {
			begin := time.Now()
			ask(query)
			if got := <-answered; got != "200 2\n" || time.Since(begin) != want {
				t.Errorf("%s: %q after %s, want %s", query, got, time.Since(begin), want)
			}
		}
		for _, query := range []string{"?index=x", "?index=-1", "?index=1e3", "?index=99999999999999999999", "?wait=x", "?wait=-1s", "?wait=5", "?index=%zz"} {
			ask(query)
			if got := <-answered; got[:4] != "400 " {
				t.Errorf("%s: %s", query, got)
			}
		}
	})
}

func now(r *apitest.Rack) string { return strconv.FormatInt(r.IndexNow(), 10) }

// Of many that end with one change none is lost, and their work is spread.
func TestManyBlockingReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rack := apitest.NewRack(t, "acme", apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001))
		h := server(t, true, rack)
		const many = 1000
		begin, ends := time.Now(), make(chan time.Duration, many)
		for range many {
			go func() {
				if w := apitest.Get(t, h, "/service/web?wait=1m&index="+now(rack)); w.Body.String() != "2\n" {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				ends <- time.Since(begin)
			}()
		}
		synctest.Wait()
		rack.Put(apitest.Instance("0a0a0a0a0a0a", "shop", "web", "node-1", "10.0.2.10", 40003))
		different := map[time.Duration]bool{}
		for range many {
			d := <-ends
			if different[d] = true; d > 250*time.Millisecond {
				t.Errorf("one ends after %s", d)
			}
		}
		if len(different) < many/2 {
			t.Errorf("they end at %d different times", len(different))
		}
	})
}
