package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// What an operator wants to know of an agent is there, and counts.
func TestAgentMetrics(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, nil, "--docker", "off")
	at := etcdtest.FreeAddr(t)
	launch(t, "agent", "--rack", r.name, "--etcd", r.etcd, "--host-address", b.gateway.String(), "--metrics", at)
	eventually(t, "the first list", func() error { return ok(at, "/readyz") })
	if err := ok(at, "/healthz"); err != nil {
		t.Error(err)
	}
	const refused = `rackdns_agent_containers_refused{reason="name"}`
	before := map[string]float64{}
	for _, name := range []string{
		"rackdns_agent_containers_seen", "rackdns_agent_containers_published", "rackdns_agent_processes_watched",
		"rackdns_agent_kills_foretold_total",
		"rackdns_agent_last_list_timestamp_seconds", "rackdns_agent_last_event_timestamp_seconds",
		"rackdns_agent_stream_up", "rackdns_agent_writes_total", "rackdns_agent_containers_refused",
		"rackdns_agent_event_to_commit_seconds_count", "rackdns_agent_event_to_commit_seconds_sum",
		"rackdns_registry_lease_held", "go_goroutines",
	} {
		v, err := metric(at, name)
		if err != nil {
			t.Error(err)
		}
		before[name] = v
	}
	if before["rackdns_agent_stream_up"] != 1 || before["rackdns_agent_last_list_timestamp_seconds"] < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("no stream, or no list: %v", before)
	}

	if v, err := metric(at, "rackdns_registry_embedded_up"); err == nil {
		t.Errorf("it tells of an etcd that it hasn't: %v", v)
	}

	name := r.service("web", app)
	instances := web(t, 2, app, b)
	bad := start(t, spec{network: b, labels: map[string]string{"rackdns.app": "not a label"}})
	eventually(t, "two instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })
	// Others start and end containers on this engine too, so only what can't
	// be theirs is compared.
	eventually(t, "metrics of the two", func() error {
		for name, more := range map[string]float64{"rackdns_agent_event_to_commit_seconds_count": 2, "rackdns_agent_writes_total": 2} {
			if v, err := metric(at, name); err != nil || v < before[name]+more {
				return fmt.Errorf("%s is %v, %w; it was %v", name, v, err, before[name])
			}
		}
		if v, err := metric(at, "rackdns_agent_last_event_timestamp_seconds"); err != nil || v < float64(time.Now().Add(-time.Minute).Unix()) {
			return fmt.Errorf("the last event was at %v, %w", v, err)
		}
		if seen, err := metric(at, "rackdns_agent_containers_seen"); err != nil || seen < 3 {
			return fmt.Errorf("%v containers are seen, %w", seen, err)
		}
		if published, err := metric(at, "rackdns_agent_containers_published"); err != nil || published < 2 {
			return fmt.Errorf("%v containers are published, %w", published, err)
		}
		body, err := get("http://" + at + "/metrics")
		if err == nil && (!strings.Contains(string(body), refused) || strings.Contains(string(body), refused+" 0\n")) {
			err = fmt.Errorf("%s is not refused", bad.id)
		}
		return err
	})
	// Nothing that a container can choose is in a label.
	body, err := get("http://" + at + "/metrics")
	if err != nil || strings.Contains(string(body), app) || strings.Contains(string(body), instances[0].id) {
		t.Errorf("metrics tell of single containers: %v", err)
	}
}

// The whole rack in one process has all metrics in one place.
func TestStandaloneMetrics(t *testing.T) {
	t.Parallel()
	at := etcdtest.FreeAddr(t)
	r := startRack(t, nil, "--docker", "off", "--http", at)
	eventually(t, "ready", func() error { return ok(at, "/readyz") })
	for _, name := range []string{"rackdns_index_revision", "rackdns_agent_stream_up", "coredns_rack_replies_total", "coredns_panics_total", "process_resident_memory_bytes"} {
		if _, err := metric(at, name); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(r.out.String(), "http://"+at+"/metrics") {
		t.Errorf("the banner doesn't tell of the metrics:\n%s", r.out)
	}
	r.crash()
	r.start()
	eventually(t, "ready again", func() error { return ok(at, "/readyz") })
}

// An agent without an engine is alive, and not ready.
func TestNotReadyWithoutAnEngine(t *testing.T) {
	t.Parallel()
	at := etcdtest.FreeAddr(t)
	launch(t, "agent", "--rack", "x", "--etcd", "http://"+etcdtest.FreeAddr(t), "--host-address", hosted, "--metrics", at, "--docker", "unix:///nowhere/docker.sock")
	eventually(t, "alive", func() error { return ok(at, "/healthz") })
	resp, err := http.Get("http://" + at + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s, want that it is not ready", resp.Status)
	}
	if v, err := metric(at, "rackdns_agent_stream_up"); err != nil || v != 0 {
		t.Errorf("stream up: %v, %v", v, err)
	}
}

func ok(address, path string) error {
	_, err := get("http://" + address + path)
	return err
}
