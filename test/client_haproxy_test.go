package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestHAProxy has HAProxy find its servers by SRV: it balances over the real
// ports of containers, and follows a kill and a start without being reloaded.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	needTool(t, "haproxy")
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	name := r.service("web", app)
	instances := web(t, 3, app, b)
	eventually(t, "three instances", func() error { return servedBy(r.dns, name, atHost(name, instances...)) })

	front := etcdtest.FreeAddr(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`resolvers rack
    nameserver rackdns %s
    accepted_payload_size 4096
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 100ms
    hold obsolete 0s
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
    retries 0
frontend front
    bind %s
    default_backend web
backend web
    balance roundrobin
    server-template web 5 _3000._tcp.%s resolvers rack resolve-prefer ipv4 init-addr none
`, r.dns, front, strings.TrimSuffix(name, "."))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launchCommand(t, exec.Command("haproxy", "-db", "-f", config))
	pid := p.cmd.Process.Pid

	// balanced wants the requests to reach each of them, and nobody else.
	balanced := func(want ...*instance) func() error {
		return func() error {
			if !p.running() {
				t.Fatalf("haproxy ended: %v", p.cmd.ProcessState)
			}
			ids, got := map[string]int{}, map[string]int{}
			for _, c := range want {
				ids[c.id] = 4
			}
			for range 4 * len(want) {
				body, err := get("http://" + front + "/")
				if err != nil {
					return err
				}
				got[strings.TrimSpace(string(body))]++
			}
			if diff := cmp.Diff(ids, got); diff != "" {
				return fmt.Errorf("requests (-want +got):\n%s", diff)
			}
			return nil
		}
	}
	eventually(t, "HAProxy balances over three", balanced(instances...))
	before := instances[0].published("3000/tcp")
	instances[0].kill()
	eventually(t, "HAProxy has lost the killed one", balanced(instances[1:]...))
	instances[0].start()
	eventually(t, "HAProxy has the started one", balanced(instances...))
	if after := instances[0].published("3000/tcp"); after == before {
		t.Logf("Docker chose port %s again, so a changed port was not seen here", net.JoinHostPort("", after))
	}
	if p.cmd.Process.Pid != pid || !p.running() {
		t.Error("HAProxy is not the one that was started")
	}
}
