package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	seenContainers = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_containers_seen",
		Help: "Running containers that the agent knows of.",
	})
	publishedContainers = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_containers_published",
		Help: "Containers that are registered, serving or not.",
	})
	refusedContainers = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rackdns_agent_containers_refused",
		Help: "Running containers that are not registered, by reason.",
	}, []string{"reason"})
	watchedProcesses = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_processes_watched",
		Help: "Registered containers whose process the agent watches itself. The ends of the others are known by the engine's events.",
	})
	foretoldKills = promauto.NewCounter(prometheus.CounterOpts{
		Name: "rackdns_agent_kills_foretold_total",
		Help: "Instances that drain since a kill was heard of before the engine told of it.",
	})
	foretoldSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "rackdns_agent_kill_foretold_lead_seconds",
		Help:    "How long before the engine's own time of a kill it was heard of.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
	})
	unconfirmedKills = promauto.NewCounter(prometheus.CounterOpts{
		Name: "rackdns_agent_kills_unconfirmed_total",
		Help: "Kills that were heard of and that the engine told nothing of: the instance serves again. Alert on more than a few, somebody may be making them up.",
	})
	unbelievedKills = promauto.NewCounter(prometheus.CounterOpts{
		Name: "rackdns_agent_kills_unbelieved_total",
		Help: "Kills that were heard of and ignored, since ones before them of the same container did not come.",
	})
	lastList = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_last_list_timestamp_seconds",
		Help: "When the engine last listed all containers. Alert when it is minutes old.",
	})
	lastEvent = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_last_event_timestamp_seconds",
		Help: "When the last event came from the engine.",
	})
	streamUp = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_stream_up",
		Help: "1 while the stream of events is open and the engine has been listed, else 0.",
	})
	reconnects = promauto.NewCounter(prometheus.CounterOpts{
		Name: "rackdns_agent_stream_ends_total",
		Help: "Times the stream of events ended or could not be opened.",
	})
	eventCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_agent_events_total",
		Help: "Events from the engine that were acted on, by action.",
	}, []string{"action"})
	inspectSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "rackdns_agent_inspect_duration_seconds",
		Help:    "How long the engine took to say what a container is.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	})
	inspectFailures = promauto.NewCounter(prometheus.CounterOpts{
		Name: "rackdns_agent_inspect_failures_total",
		Help: "Inspects that failed or timed out and are tried again.",
	})
	writes = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "rackdns_agent_writes_total",
		Help: "Changes given to the registry, by operation (set, remove, replace).",
	}, []string{"op"})
	commitSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "rackdns_agent_event_to_commit_seconds",
		Help:    "From the engine's event to the registry's commit.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	queued = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "rackdns_agent_queue_length",
		Help: "Containers that wait to be looked at.",
	})
)

func init() {
	// All series are there from the start: an alert on one that isn't never
	// fires.
	for _, r := range reasons {
		refusedContainers.WithLabelValues(string(r))
	}
}
