package recursion

import (
	"net/netip"
	"sync"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

var refusedTotal = promauto.NewCounter(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "refused_total",
	Help:      "Queries refused, since names outside of this server's zones are not looked up for who asked.",
})

// refusals are counted, and the first is logged: strangers can ask as often as
// they like.
type refusals struct{ first sync.Once }

func (r *refusals) count(client netip.Addr) {
	refusedTotal.Inc()
	r.first.Do(func() {
		log.Warningf("refused to look up a name outside of this server's zones for %s, which is in none of the networks served; "+
			"further ones are only counted. If it should be served, add its network", client)
	})
}
