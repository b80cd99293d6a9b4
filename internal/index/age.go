package index

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// followed are the indexes that follow a registry, whose ages are told.
var followed = func() *ages {
	a := &ages{
		desc: prometheus.NewDesc("rackdns_index_sync_age_seconds",
			"Time since the index was last known to be equal to the registry; absent before the first sync.",
			[]string{"rack"}, nil),
		of: map[*Index]struct{}{},
	}
	prometheus.MustRegister(a)
	return a
}()

// ages computes each rack's age when it is asked for, since it grows by
// itself. Several indexes of a rack can live at a time: in two server blocks
// with different options, and for a moment during a reload. The oldest is the
// one that an operator has to know of.
type ages struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	of   map[*Index]struct{}
}

func (a *ages) add(x *Index) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of[x] = struct{}{}
}

func (a *ages) remove(x *Index) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, x)
}

// Describe implements prometheus.Collector.
func (a *ages) Describe(ch chan<- *prometheus.Desc) { ch <- a.desc }

// Collect implements prometheus.Collector.
func (a *ages) Collect(ch chan<- prometheus.Metric) {
	oldest := map[string]float64{}
	a.mu.Lock()
	for x := range a.of {
		if x.confirmed.Load() != 0 {
			oldest[x.Rack()] = max(oldest[x.Rack()], x.Age().Seconds())
		}
	}
	a.mu.Unlock()
	for rack, age := range oldest {
		ch <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue, age, rack)
	}
}
