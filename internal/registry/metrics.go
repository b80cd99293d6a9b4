package registry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	relists = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_resyncs_total",
		Help: "Times the whole registry was listed again, after a compaction, a restored snapshot or a difference.",
	}, []string{"rack"})
	checked = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_checks_total",
		Help: "Times the index was compared with all keys of the registry at one revision.",
	}, []string{"rack"})
	incomplete = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_incomplete_total",
		Help: "Times such a comparison found a difference, and the whole registry was listed again.",
	}, []string{"rack"})
	watches = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_watch_starts_total",
		Help: "Times a watch of the registry was started; the first one is no failure.",
	}, []string{"rack"})
	leaseHeld = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_registry_lease_held",
		Help: "1 while the node's lease is alive and its keys hang on it, else 0.",
	}, []string{"rack", "node"})
	leaseLosses = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_lease_losses_total",
		Help: "Times the node's lease ended against its will.",
	}, []string{"rack", "node"})
	writes = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_writes_total",
		Help: "Keys written to the registry, by operation (put, delete).",
	}, []string{"rack", "node", "op"})
	writeFailures = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_write_failures_total",
		Help: "Transactions that failed and were tried again.",
	}, []string{"rack", "node"})
	desiredInstances = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_registry_published_instances",
		Help: "Instances that the node's agent wants in the registry.",
	}, []string{"rack", "node"})
	refusalsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_refusals_total",
		Help: "Refusals by etcd, or of it, by reason (password, token, user, permission, certificate). A token that ran out is renewed at once.",
	}, []string{"rack", "reason"})
	refusedNow = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_registry_refused",
		Help: "Connections to the registry that are refused at present, by reason.",
	}, []string{"rack", "reason"})
	nameTaken = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_registry_name_taken",
		Help: "1 while another agent has the node's name and its lease is waited for, else 0.",
	}, []string{"rack", "node"})
	rivalChanges = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_registry_rival_changes_total",
		Help: "Times the node's keys were found changed by somebody else, and repaired.",
	}, []string{"rack", "node"})
)
