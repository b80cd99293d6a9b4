package shortname

import (
	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	queries = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "queries_total",
		Help:      "Queries for short names of the rack, by form: bare (web.) or qualified (web.shop.).",
	}, []string{"rack", "form"})
	unknownClients = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "unknown_clients_total",
		Help:      "Bare names answered SERVFAIL, since the container that asked wasn't known within two seconds.",
	}, []string{"rack"})
	notSynced = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "not_synced_total",
		Help:      "Queries answered SERVFAIL, since it isn't known yet whether the name is one of the rack's.",
	}, []string{"rack"})
)

// counters are a rack's, looked up before the first query.
type counters struct{ bare, qualified, unsynced, unknown prometheus.Counter }

func newCounters(rack string) counters {
	return counters{
		bare:      queries.WithLabelValues(rack, "bare"),
		qualified: queries.WithLabelValues(rack, "qualified"),
		unsynced:  notSynced.WithLabelValues(rack),
		unknown:   unknownClients.WithLabelValues(rack),
	}
}
