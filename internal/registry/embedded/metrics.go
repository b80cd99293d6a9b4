package embedded

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	running = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "rackdns", Subsystem: "registry", Name: "embedded_up",
		Help: "Whether standalone's etcd runs.",
	})
	ends = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "rackdns", Subsystem: "registry", Name: "embedded_ends_total",
		Help: "Times that standalone's etcd ended without being asked to, or could not be started.",
	})
	// tell has them told by a process that has such an etcd: of another one's they
	// would say that it doesn't run.
	tell = sync.OnceFunc(func() { prometheus.MustRegister(running, ends) })
)
