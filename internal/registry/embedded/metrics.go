package embedded

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	running = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: "rackdns", Subsystem: "registry", Name: "embedded_up",
		Help: "Whether standalone's etcd runs.",
	})
	ends = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: "rackdns", Subsystem: "registry", Name: "embedded_ends_total",
		Help: "Times that standalone's etcd ended without being asked to, or could not be started.",
	})
)
