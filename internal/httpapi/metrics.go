package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var requests = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "rackdns_http_requests_total",
	Help: "Requests that a route answered, by family and by the class of the status.",
}, []string{"family", "code"})
