package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
	"github.com/rackdns/rackdns/test/program"
)

// consulTemplate is a client of Consul's API that many have.
const consulTemplate = "github.com/hashicorp/consul-template@v0.41.1"

// dialled are the containers that answer at the ends.
func dialled(ends []string) ([]string, error) {
	var ids []string
	for _, at := range ends {
		body, err := get("http://" + at + "/")
		if err != nil {
			return nil, err
		}
		ids = append(ids, strings.TrimSpace(string(body)))
	}
	slices.Sort(ids)
	return ids, nil
}

func idsOf(instances []*instance) []string {
	var ids []string
	for _, c := range instances {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return ids
}

// TestConsulTemplate has consul-template, as it is, write a configuration of
// HAProxy's out of Consul's API, and write it anew on a kill and on a start. What
// stands there is dialled.
func TestConsulTemplate(t *testing.T) {
	t.Parallel()
	needTool(t, "haproxy")
	tool, err := program.Install(consulTemplate)
	if err != nil {
		t.Fatal(err)
	}
	b, app := newBridge(t), unique("orders")
	at := etcdtest.FreeAddr(t)
	startRack(t, b, "--http", at)
	instances := web(t, 3, app, b)

	dir := t.TempDir()
	in, out := filepath.Join(dir, "haproxy.ctmpl"), filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
listen web
    bind 127.0.0.1:%d
{{ range service "web-%s" }}    server {{ .ID }} {{ .Address }}:{{ .Port }} weight {{ .Weights.Passing }}
{{ end }}`, 1, app)
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launchCommand(t, exec.Command(tool, "-consul-addr", at, "-template", in+":"+out, "-log-level", "info"))
	t.Cleanup(func() {
		// It takes no other signal for the end, and calls that a failure.
		p.signal(syscall.SIGINT)
		_ = p.wait()
	})
	written := func(want ...*instance) func() error {
		return func() error {
			if !p.running() {
				t.Fatalf("consul-template ended: %v", p.cmd.ProcessState)
			}
			text, err := os.ReadFile(out)
			if err != nil {
				return err
			}
			var ends []string
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) > 2 && f[0] == "server" {
					ends = append(ends, f[2])
				}
			}
			got, err := dialled(ends)
			if err != nil {
				return err
			}
			if diff := cmp.Diff(idsOf(want), got); diff != "" {
				return fmt.Errorf("(-want +got):\n%s", diff)
			}
			return nil
		}
	}
	eventually(t, "three servers are written", written(instances...))
	if o, err := exec.Command("haproxy", "-c", "-f", out).CombinedOutput(); err != nil {
		t.Errorf("HAProxy doesn't take the file: %v: %s", err, o)
	}
	instances[0].kill()
	eventually(t, "the killed one is out of the file", written(instances[1:]...))
	instances[0].start()
	eventually(t, "the started one is in the file", written(instances...))
}

// TestPrometheus has Prometheus find its targets by HTTP: it scrapes the real ports
// of containers that come and go.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	needTool(t, "prometheus")
	b, app := newBridge(t), unique("orders")
	at := etcdtest.FreeAddr(t)
	startRack(t, b, "--http", at)
	instances := web(t, 2, app, b)

	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: rack
    http_sd_configs:
      - {url: 'http://%s/sd/prometheus?app=%s&port=3000', refresh_interval: 1s}
    relabel_configs:
      - {source_labels: [__meta_rackdns_service], target_label: service}
`, at, app)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := etcdtest.FreeAddr(t)
	launchCommand(t, exec.Command("prometheus", "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", own))
	scraped := func(want ...*instance) func() error {
		return func() error {
			// What is no target any more is stale at once.
			body, err := get("http://" + own + "/api/v1/query?query=" + url.QueryEscape(`container_info{service="web"}`))
			if err != nil {
				return err
			}
			var answer struct {
				Data struct {
					Result []struct{ Metric map[string]string }
				}
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				return err
			}
			var got []string
			for _, r := range answer.Data.Result {
				got = append(got, r.Metric["id"])
			}
			slices.Sort(got)
			if diff := cmp.Diff(idsOf(want), got); diff != "" {
				return fmt.Errorf("(-want +got):\n%s", diff)
			}
			return nil
		}
	}
	eventually(t, "Prometheus scrapes two", scraped(instances...))
	instances[0].kill()
	eventually(t, "Prometheus has lost the killed one", scraped(instances[1:]...))
	instances[0].start()
	eventually(t, "Prometheus has the started one", scraped(instances...))
}
