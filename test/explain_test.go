package test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// clash gives a container names by two sources, of which one counts.
var clash = map[string]string{
	"com.docker.compose.project": "project", "com.docker.compose.service": "api",
	"rackdns.weight": "heavy", "rackdns.links": "db", "connect.6000": "redis.resource",
}

// run runs a command that is to succeed without a word on stderr.
func run(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := completed(t, command(t, args...))
	if code != 0 || stderr != "" {
		t.Fatalf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return v
}

// hasLine checks that a line of a text has all of these words, in this order.
func hasLine(t *testing.T, text string, words ...string) {
	t.Helper()
lines:
	for line := range strings.Lines(text) {
		for _, w := range words {
			_, rest, ok := strings.Cut(line, w)
			if !ok {
				continue lines
			}
			line = rest
		}
		return
	}
	t.Errorf("no line with %q in\n%s", words, text)
}

// Why a container is in DNS, for people and for programs.
func TestExplain(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	c := start(t, spec{app: app, service: "web", labels: clash, network: b, expose: []string{"3000/tcp"}})
	host := netip.MustParseAddr(hosted)
	address := netip.AddrPortFrom(host, number(t, c.published("3000/tcp"))).String()

	text := run(t, "explain", c.name, "--host-address", hosted)
	hasLine(t, text, c.name, c.id, "running")
	hasLine(t, text, "registered as web."+app, "in DNS")
	hasLine(t, text, "app", app, "label rackdns.app", "before", "com.docker.compose.project=project")
	hasLine(t, text, "service", "web", "label rackdns.service", "before", "com.docker.compose.service=api")
	hasLine(t, text, "links", "db", "label rackdns.links")
	hasLine(t, text, "connect 6000", "redis.resource")
	hasLine(t, text, "network "+b.name, c.address().String())
	hasLine(t, text, "port 3000/tcp", address)
	hasLine(t, text, "rackdns.weight", "heavy", "not a number")

	// By its ID, to a program: the same, field by field.
	x := parse[agent.Explanation](t, run(t, "explain", c.id, "-o", "json", "--host-address", hosted))
	if x.ID != c.id || x.Container != c.name || !x.Serving || x.Refusal != nil || len(x.Remarks) != 1 {
		t.Errorf("%+v", x)
	}
	if i := x.Instance; i == nil || i.App != app || i.Host != host || !slices.Equal(i.Links, []string{"db"}) || i.Connect[6000] != "redis.resource" {
		t.Errorf("instance %+v", i)
	}
	if !slices.ContainsFunc(x.Choices, func(c agent.Choice) bool { return c.Field == "app" && c.Source == "label rackdns.app" }) {
		t.Errorf("choices %+v", x.Choices)
	}

	c.kill()
	eventually(t, "the container's end", func() error {
		if c.inspect().State.Running {
			return errRunning
		}
		return nil
	})
	hasLine(t, run(t, "explain", c.name), "not registered", "exited")
}

// What an operator has said of the node counts before all that the container is.
func TestExplainOnADrainedNode(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil).Endpoints()[0]
	b, app := newBridge(t), unique("shop")
	c := start(t, spec{app: app, service: "web", network: b, expose: []string{"3000/tcp"}})
	explain := func() string {
		return run(t, "explain", c.name, "--host-address", hosted, "--node", "node-1", "--rack", "acme", "--etcd", etcd)
	}
	hasLine(t, explain(), "registered as web."+app, "in DNS")
	run(t, "node", "drain", "node-1", "--absent", "--why", "new kernel", "--rack", "acme", "--etcd", etcd)
	text := explain()
	hasLine(t, text, "but not in DNS: its node node-1 is drained by", ": new kernel (rackdns node drain node-1 --undo)")
	run(t, "node", "drain", "node-1", "--undo", "--rack", "acme", "--etcd", etcd)
	hasLine(t, explain(), "registered as web."+app, "in DNS")
}

func TestExplainRefusal(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	c := start(t, spec{network: b, labels: map[string]string{"rackdns.app": "not a label"}})
	hasLine(t, run(t, "explain", c.name), "not registered (name)", "label rackdns.app", "not a label")
	x := parse[agent.Explanation](t, run(t, "explain", c.name, "-o", "json"))
	if x.Instance != nil || x.Refusal == nil || x.Refusal.Reason != agent.ReasonName {
		t.Errorf("%+v", x)
	}
}

func TestExplainUnknown(t *testing.T) {
	t.Parallel()
	engine(t)
	name := unique("nobody")
	stdout, stderr, code := completed(t, command(t, "explain", name))
	if code != failed || stdout != "" {
		t.Errorf("exit code %d, %q; want %d and nothing", code, stdout, failed)
	}
	checkOneLine(t, stderr, name, "docker ps -a")
}

// What an agent would register is what an agent registers; and it isn't, yet.
func TestDryRun(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	good := web(t, 2, app, b)
	bad := start(t, spec{network: b, labels: map[string]string{"rackdns.app": "not a label"}})
	ignored := start(t, spec{network: b, labels: map[string]string{"rackdns.ignore": "1"}})
	r := startRack(t, nil, "--docker", "off")
	args := []string{"agent", "--rack", r.name, "--etcd", r.etcd, "--host-address", b.gateway.String(), "--dry-run"}

	text := run(t, args...)
	header, _, _ := strings.Cut(text, "\n")
	for _, c := range good {
		address := netip.AddrPortFrom(b.gateway, number(t, c.published("3000/tcp"))).String()
		hasLine(t, text, c.id, "web."+app, "yes", "3000="+address, b.name+"="+c.address().String())
		// A table for people: each column stands below its title.
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, c.id) && strings.Index(line, "web."+app) != strings.Index(header, "NAME") {
				t.Errorf("not aligned:\n%s\n%s", header, line)
			}
		}
	}
	hasLine(t, text, "LEFT OUT", "CONTAINER", "REASON", "WHY")
	hasLine(t, text, bad.id, bad.name, "name", "not a label")
	hasLine(t, text, ignored.id, ignored.name, "ignored", "rackdns.ignore")

	draft := parse[struct {
		Instances []*registry.Instance
		LeftOut   []agent.Refusal `json:"left_out"`
	}](t, run(t, append(args, "-o", "json")...))
	for _, c := range good {
		if !slices.ContainsFunc(draft.Instances, func(i *registry.Instance) bool {
			return i.ID == c.id && i.App == app && i.Serving() && len(i.Ports) == 1 && i.Ports[0].Bindings[0].IP == b.gateway
		}) {
			t.Errorf("%s is not among %+v", c.id, draft.Instances)
		}
	}
	if !slices.ContainsFunc(draft.LeftOut, func(r agent.Refusal) bool { return r.ID == bad.id && r.Reason == agent.ReasonName }) {
		t.Errorf("%s is not among %+v", bad.id, draft.LeftOut)
	}
	if err := resolvesToNothing(r, r.service("web", app)); err != nil {
		t.Errorf("a dry run registers: %v", err)
	}
}
