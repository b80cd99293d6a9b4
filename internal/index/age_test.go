package index

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// ageOf reports whether the age of a rack's index is told.
func ageOf(t *testing.T, rack string) bool {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "rackdns_index_sync_age_seconds" && m.GetLabel()[0].GetValue() == rack {
				return true
			}
		}
	}
	return false
}

// TestAgeIsToldOfWhoeverFollows closes the first of two indexes of a rack, as
// a reload with other options does.
func TestAgeIsToldOfWhoeverFollows(t *testing.T) {
	const rack = "aged"
	endpoint := etcdtest.Start(t, 1, nil).Endpoints()[0]
	open := func(endpoint string) *Index {
		x, err := Open(Config{
			Registry: registry.Config{Endpoints: []string{endpoint}, Rack: rack},
			Logger:   slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		x.Start()
		return x
	}
	first, second := open(endpoint), open(endpoint)
	<-first.Synced()
	<-second.Synced()
	for _, x := range []*Index{first, second} {
		if !ageOf(t, rack) {
			t.Error("an index follows, and its age is not told")
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	if ageOf(t, rack) {
		t.Error("the age of an index that is closed")
	}
	unsynced := open("http://127.0.0.1:1")
	if ageOf(t, rack) {
		t.Error("the age of an index that was never synced")
	}
	if err := unsynced.Close(); err != nil {
		t.Error(err)
	}
}
