package rack

import (
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rackdns/rackdns/internal/index"
)

var (
	refusals = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "not_synced_total",
		Help:      "Queries answered SERVFAIL, since the registry was never read or is older than max_stale.",
	}, []string{"rack"})
	replies = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "replies_total",
		Help:      "Replies, by the kind of name that was asked for and by result.",
	}, []string{"rack", "kind", "result"})
	truncations = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "truncated_replies_total",
		Help:      "Replies from which records were left out, since the asker can't take them.",
	}, []string{"rack"})
	omissions = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "transfer_omitted_records_total",
		Help:      "Records left out of zone transfers, since a name in them would be longer than names can be.",
	}, []string{"rack"})
	hiddenQueries = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "hidden_clients_queries_total",
		Help:      "Queries from the gateway of a Docker network, by clients that a proxy stands before.",
	}, []string{"rack"})
	upstreamFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "upstream_failures_total",
		Help:      "Outside hosts of resources that could not be resolved, by reason: a loop, or upstream.",
	}, []string{"rack", "reason"})
)

// kind is what a name was found to be. The value of a label is all that a
// metric ever tells of a question.
type kind uint8

const (
	kindUnknown kind = iota
	kindEmpty
	kindService
	kindInstance
	kindPort
	kindResource
	kindApex
	kindReverse
	numKinds
)

var (
	kindNames = [numKinds]string{"unknown", "empty", "service", "instance", "port", "resource", "apex", "reverse"}
	kinds     = [...]kind{
		index.None: kindUnknown, index.Empty: kindEmpty, index.AService: kindService,
		index.AnInstance: kindInstance, index.Ports: kindPort, index.Target: kindResource,
	}
)

// What became of a query.
const (
	resultAnswer = iota
	resultNoData
	resultNameError
	resultFailure
	numResults
)

var resultNames = [numResults]string{"answer", "nodata", "nxdomain", "servfail"}

// counters are a rack's, looked up before the first query.
type counters struct {
	unsynced, truncated prometheus.Counter
	hidden              prometheus.Counter
	replies             [numKinds][numResults]prometheus.Counter
}

func newCounters(rack string) counters {
	c := counters{unsynced: refusals.WithLabelValues(rack), truncated: truncations.WithLabelValues(rack), hidden: hiddenQueries.WithLabelValues(rack)}
	for k := range c.replies {
		for r := range c.replies[k] {
			c.replies[k][r] = replies.WithLabelValues(rack, kindNames[k], resultNames[r])
		}
	}
	return c
}

func (c *counters) count(q *query, code int) {
	result := resultAnswer
	switch {
	case code != dns.RcodeSuccess:
		result = resultFailure
	case q.reply.Rcode == dns.RcodeNameError:
		result = resultNameError
	case len(q.reply.Answer) == 0:
		result = resultNoData
	}
	c.replies[q.kind][result].Inc()
	if q.reply.Truncated {
		c.truncated.Inc()
	}
}
