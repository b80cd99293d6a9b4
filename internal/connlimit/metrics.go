package connlimit

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	connections = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_listener_connections",
		Help: "Connections that others have open to us, by listener: dns (over TCP) or http.",
	}, []string{"listener"})
	evictions = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_listener_evicted_connections_total",
		Help: "Connections closed to make room for new ones.",
	}, []string{"listener"})
	acceptErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_listener_accept_errors_total",
		Help: "Times that connections couldn't be accepted for a while, as for want of file descriptors.",
	}, []string{"listener"})
)
