package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metricsPatience is how long a process may take to tell its metrics.
const metricsPatience = 2 * time.Second

// defaultMetrics are where our processes serve theirs, by the documentation.
var defaultMetrics = []string{"127.0.0.1:8080", "127.0.0.1:9153", "127.0.0.1:9154"}

// metrics are those of one process that has to do with the rack.
type metrics struct {
	at       string
	rack     string
	families map[string]*dto.MetricFamily
}

// findMetrics reads the metrics of the rack's processes on this host.
func (s *scene) findMetrics(ctx context.Context) []*metrics {
	at := slices.Clone(s.cfg.HTTP)
	if len(at) == 0 {
		at = slices.Clone(defaultMetrics)
		for _, k := range listening("tcp") {
			if a := k.reached().String(); k.program == ourProgram && !slices.Contains(at, a) {
				at = append(at, a)
			}
		}
	}
	all := make([]*metrics, len(at))
	var reading sync.WaitGroup
	for n, a := range at {
		reading.Go(func() { all[n] = readMetrics(ctx, a, s.rack()) })
	}
	reading.Wait()
	return slices.DeleteFunc(all, func(m *metrics) bool { return m == nil })
}

// readMetrics returns nil if there are none of the rack's.
func readMetrics(ctx context.Context, at, rack string) *metrics {
	ctx, cancel := context.WithTimeout(ctx, metricsPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/metrics", http.NoBody)
	if err != nil {
		return nil
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil
	}
	m := &metrics{at, rack, families}
	for name := range families {
		if _, ok := m.value(name); ok {
			return m
		}
	}
	return nil
}

// value is the sum of a metric's values for the rack; ok is false if there is none.
func (m *metrics) value(name string) (sum float64, ok bool) {
	for _, s := range m.families[name].GetMetric() {
		if !has(s, "rack", m.rack) {
			continue
		}
		ok = true
		sum += number(s)
	}
	return sum, ok
}

// plain is the value of a metric without a label for the rack.
func (m *metrics) plain(name string) (value float64, ok bool) {
	for _, s := range m.families[name].GetMetric() {
		return number(s), true
	}
	return 0, false
}

// number is the value of a metric of whichever type.
func number(m *dto.Metric) float64 {
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
}

func has(m *dto.Metric, label, value string) bool {
	return slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == label && l.GetValue() == value })
}

// without says where metrics were looked for in vain.
func (s *scene) without(what string) []Result {
	return skipped("%s: no process of the rack on this host serves metrics (--http, --metrics, or prometheus in the Corefile); say by --http ADDRESS:PORT where", what)
}

// symptom is what a metric tells of a process.
type symptom struct {
	metric string
	// over is the value from which on it is one.
	over    float64
	outcome Outcome
	// what follows the address of the process; it may have the value in it.
	what, next string
}

// ofPicture are about what a DNS server answers from.
var ofPicture = []symptom{
	{"rackdns_index_sync_age_seconds", 30, Failed, "answers are %.0f seconds old, since it doesn't hear of the registry", "see its log for why: whether etcd can be reached from it, and refuses it"},
	{"rackdns_index_preserved_instances", 0, Failed, "%.0f instances are told that the registry has lost all at once", "bring the nodes' agents back, or drain nodes that are gone (rackdns node drain --absent): they stay for ten minutes at most"},
	{"rackdns_registry_incomplete_total", 0, Warned, "its picture was not what the registry holds, %.0f times since it began", "it has been read again each time; if it comes again and again see docs/etcd.md, the check of completeness"},
	{"coredns_rack_omitted_records_total", 0, Warned, "%.0f records were left out, since names in them would be too long", "give the service, app or instance a shorter name: rackdns resolve says which"},
	{"coredns_rack_notify_failures_total", 0, Warned, "secondaries didn't take %.0f of its NOTIFYs", "look at the secondaries' configuration (allow-notify), and that they are reached"},
}

// ofAgent are about a process that writes to the registry, or reads from it.
var ofAgent = []symptom{
	{"rackdns_registry_refused", 0, Failed, "etcd refuses %.0f of its connections", "its log says which file to mend"},
	{"rackdns_registry_name_taken", 0, Failed, "another agent has its node's name, whose lease it waits for", "give one of the two hosts another name (--node)"},
	{"rackdns_registry_rival_changes_total", 0, Warned, "somebody else has changed its node's keys %.0f times", "find the other one: an agent of the same node, or a program that writes below nodes/ and instances/"},
	{"rackdns_registry_lease_losses_total", 0, Warned, "its lease has ended against its will %.0f times", "look at the load of this host and of etcd, and at the network between them"},
}

func (m *metrics) symptoms(all []symptom) []Result {
	var found []Result
	for _, y := range all {
		if v, ok := m.value(y.metric); ok && v > y.over {
			what := y.what
			if slices.Contains([]byte(what), '%') {
				what = fmt.Sprintf(what, v)
			}
			found = append(found, Result{Outcome: y.outcome, What: "the process at " + m.at + ": " + what, Next: y.next})
		}
	}
	return found
}

func checkPicture(_ context.Context, s *scene) []Result {
	var found []Result
	told := false
	for _, m := range s.metrics() {
		if _, ok := m.families["rackdns_index_sync_age_seconds"]; !ok {
			if _, dns := m.value("coredns_rack_not_synced_total"); dns {
				found = append(found, failed("see its log for why it can't read the registry", "the process at %s: it answers SERVFAIL, since it never had a picture of the registry", m.at))
				told = true
			}
			continue
		}
		told = true
		found = append(found, m.symptoms(ofPicture)...)
	}
	if !told {
		return s.without("how old the answers of DNS are")
	}
	return orPassed(found, "it is the registry's")
}

func checkProcesses(_ context.Context, s *scene) []Result {
	all := s.metrics()
	if len(all) == 0 {
		return s.without("how agents and servers fare")
	}
	var found []Result
	for _, m := range all {
		found = append(found, m.symptoms(ofAgent)...)
		if v, ok := m.value("rackdns_registry_lease_held"); ok && v == 0 {
			found = append(found, failed("see its log: what it registered goes, or is gone", "the process at %s: its agent has no lease", m.at))
		}
		if up, ok := m.plain("rackdns_registry_embedded_up"); ok && up == 0 {
			found = append(found, failed("its log says why it ended: it is started again as soon as it can be", "the process at %s: its etcd doesn't run", m.at))
		}
		if ends, ok := m.plain("rackdns_registry_embedded_ends_total"); ok && ends > 0 {
			found = append(found, warned("its log says why: a full disk, or want of memory, as a rule", "the process at %s: its etcd has ended %.0f times", m.at, ends))
		}
	}
	return orPassed(found, "%s, nothing wrong", several(len(all), "process"))
}

func checkHidden(_ context.Context, s *scene) []Result {
	const next = "run the server in the host's network (docker run --network host): bare names don't work for those behind a proxy, nor does what is not published"
	var found []Result
	for _, v := range s.given() {
		if v.socket != nil && v.socket.program == proxyProgram {
			found = append(found, warned(next, "the server at %s is behind %s, which hides who asks", v.at, proxyProgram))
		}
	}
	told := len(found) > 0
	for _, m := range s.metrics() {
		n, ok := m.value("coredns_rack_hidden_clients_queries_total")
		told = told || ok
		if n > 0 {
			found = append(found, warned(next, "the server of %s was asked %.0f times by clients behind a proxy", m.at, n))
		}
	}
	if !told {
		return s.without("whether clients are hidden by a proxy")
	}
	return orPassed(found, "no client is")
}
