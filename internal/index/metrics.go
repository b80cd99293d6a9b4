package index

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	invalidValues = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_index_invalid_values_total",
		Help: "Values of the registry that were skipped because they can't be used.",
	}, []string{"rack"})
	entriesByKind = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_index_entries",
		Help: "Entries in the index, by kind; invalid ones are those skipped at present.",
	}, []string{"rack", "kind"})
	preservedInstances = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_index_preserved_instances",
		Help: "Instances that are told though the registry has lost them, since that is taken for its own trouble. Alert on more than 0.",
	}, []string{"rack"})
	indexRevision = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_index_revision",
		Help: "Registry revision of the last list, or of the last change since.",
	}, []string{"rack"})
	indexSerial = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_index_serial",
		Help: "Registry revision of the last change that DNS shows.",
	}, []string{"rack"})
	propagation = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "rackdns_index_propagation_seconds",
		Help:    "Time from the Docker event on its node to the change in this index, by the clocks of both.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"rack"})
)
