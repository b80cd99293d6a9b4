package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// lossy is an index that some changes don't reach.
type lossy struct {
	registry.Handler
	drop  atomic.Bool
	lists atomic.Int64
}

func (l *lossy) EndList() int64 {
	l.lists.Add(1)
	return l.Handler.EndList()
}

func (l *lossy) Update(entries []registry.Entry) {
	if !l.drop.CompareAndSwap(true, false) {
		l.Handler.Update(entries)
	}
}

// logged collects a log.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// counted returns what a counter of a rack says.
func counted(t *testing.T, name, rack string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == rack {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of rack %s", name, rack)
	return 0
}

// TestCheckMendsAnIncompleteIndex: whatever an index has missed, the check of
// completeness finds, mends, logs and counts; and where nothing is missed it
// finds nothing, whatever goes on.
func TestCheckMendsAnIncompleteIndex(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			rack := "lossy-" + strings.ReplaceAll(string(v), ".", "-")
			etcd := etcdtest.StartProcesses(t, v, 1)
			client := etcd.Client()
			var log logged
			cfg := registry.Config{Endpoints: etcd.Endpoints(), Rack: rack}
			x, err := Open(Config{Registry: cfg, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			l := &lossy{Handler: x.Feed()}
			f := registry.NewFollower(x.client, l, slog.New(slog.NewTextHandler(&log, nil)))
			f.CheckEvery(20*time.Millisecond, 50*time.Millisecond)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); f.Run(ctx) }()
			defer func() {
				cancel()
				<-done
				if err := x.Close(); err != nil {
					t.Error(err)
				}
			}()
			<-x.Synced()
			key := func(id string) string { return x.client.Layout().Instance("n1", id) }
			set := func(id string, weight int) int64 {
				i := web(id)
				i.Weight = weight
				value, err := registry.Encode(i)
				if err != nil {
					t.Fatal(err)
				}
				return putRaw(t, client, key(id), string(value))
			}
			checks := func(n float64) {
				t.Helper()
				before := counted(t, "rackdns_registry_checks_total", rack)
				etcdtest.Eventually(t, "checks", func() error {
					if got := counted(t, "rackdns_registry_checks_total", rack); got < before+n {
						return fmt.Errorf("%v, %v before", got, before)
					}
					return nil
				})
			}
			checks(1)
			for n := range 200 {
				set(fmt.Sprintf("%012d", n), 1)
			}
			putRaw(t, client, x.client.Layout().Service("shop", "api"), `{"app":"shop","service":"api"}`)
			putRaw(t, client, x.client.Layout().Service("shop", "bad"), "nonsense")
			putRaw(t, client, x.client.Layout().Node("n1"), `{"node":"n1"}`)
			putRaw(t, client, x.client.Layout().Base()+"of/no/kind", "x")
			checks(2)
			if got := log.String(); got != "" || l.lists.Load() != 1 {
				t.Fatalf("%d lists, logged: %s", l.lists.Load(), got)
			}
			for n, c := range []struct {
				what, want string
				do         func() int64
			}{
				{"a new instance", "missing=1 extra=0 stale=0", func() int64 { return set("new", 1) }},
				{"another weight", "missing=0 extra=0 stale=1", func() int64 { return set("new", 2) }},
				{"a deletion", "missing=0 extra=1 stale=0", func() int64 { return remove(t, client, key("new")) }},
				{"what can't be used", "missing=1 extra=0 stale=0", func() int64 { return putRaw(t, client, key("worse"), "{") }},
				{"what is compacted away since", "missing=1 extra=0 stale=0", func() int64 {
					set("lost", 1)
					r := putRaw(t, client, "/elsewhere", "x")
					if _, err := client.Compact(context.Background(), r); err != nil {
						t.Fatal(err)
					}
					return r - 1
				}},
			} {
				l.drop.Store(true)
				revision := c.do()
				etcdtest.Eventually(t, c.what+" to be lost", func() error {
					if l.drop.Load() {
						return errors.New("it is on its way")
					}
					return nil
				})
				if !strings.HasPrefix(c.what, "what is compacted") {
					// The next change is what shows that there was one before it.
					revision = putRaw(t, client, x.client.Layout().Node("n1"), fmt.Sprintf(`{"node":"n1","version":"%d"}`, n))
				}
				etcdtest.Eventually(t, c.what, func() error {
					switch {
					case l.lists.Load() != int64(n)+2:
						return fmt.Errorf("%d lists", l.lists.Load())
					case x.Snapshot().Revision() < revision:
						return errors.New("the list isn't over")
					}
					return nil
				})
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				if len(lines) != n+1 || !strings.Contains(lines[n], "level=WARN") || !strings.Contains(lines[n], c.want) {
					t.Errorf("%s: want %s in line %d of:\n%s", c.what, c.want, n+1, log.String())
				}
				for _, part := range []string{`msg="listing the whole registry again"`, `why="the index was not what the registry holds"`} {
					if !strings.Contains(lines[n], part) || !strings.Contains(string(doc), part) {
						t.Errorf("want %s in docs/etcd.md and in %s", part, lines[n])
					}
				}
				if got := counted(t, "rackdns_registry_incomplete_total", rack); got != float64(n)+1 {
					t.Errorf("%s: counted %v times, want %d", c.what, got, n+1)
				}
				checks(2)
			}
			if got := l.lists.Load(); got != 6 {
				t.Errorf("%d lists in the end, want 6", got)
			}
		})
	}
}
