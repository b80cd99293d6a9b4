package doctor

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

const (
	version = "v1.2.0"
	host    = "node-1"
)

// lookAt is a configuration that looks at a registry, as a host without an engine.
func lookAt(endpoints ...string) Config {
	return Config{
		Registry: registry.Config{Endpoints: endpoints, Rack: "acme"}, Options: index.Options{Node: host}, Suffix: "convox",
		NoEngine: true, Version: version, Agent: agent.Config{Node: host, Alone: true, Logger: slog.New(slog.DiscardHandler)},
	}
}

// examine makes one check.
func examine(t *testing.T, cfg Config, name string) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := newScene(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	n := slices.Index(Names(), name)
	if n < 0 {
		t.Fatalf("no check %s", name)
	}
	return checks[n].run(ctx, s)
}

// finds makes one check, and demands that one of its findings is so: an outcome,
// and words in what it says. A check that passed has no other.
func finds(t *testing.T, cfg Config, name string, want Outcome, words ...string) {
	t.Helper()
	all := examine(t, cfg, name)
	if !slices.ContainsFunc(all, func(r Result) bool { return r.is(want, words...) }) || want == Passed && len(all) > 1 {
		t.Errorf("%s: %+v, want %s: %v", name, all, want, words)
	}
}

func (r Result) is(want Outcome, words ...string) bool {
	return r.Outcome == want && (want == Passed || want == Skipped || r.Next != "") &&
		!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.What, w) })
}

// layout are the keys of the rack.
func layout(t *testing.T) registry.Layout {
	t.Helper()
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keys are what a test puts into a rack, by the part of the key after its prefix.
type keys map[string]string

// with makes one check of a registry of its own that has these keys.
func with(t *testing.T, etcd *etcdtest.Cluster, has keys, name string, want Outcome, words ...string) {
	t.Helper()
	c := etcd.Client()
	if _, err := c.Delete(t.Context(), layout(t).Base(), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for k, v := range has {
		if _, err := c.Put(t.Context(), layout(t).Base()+k, v); err != nil {
			t.Fatal(err)
		}
	}
	finds(t, lookAt(etcd.Endpoints()...), name, want, words...)
}

// node is a node's value: more stands in place of what it would have.
func node(name, more string) string {
	value := `{"node": "` + name + `"`
	for _, field := range []string{`"engine": "E-` + name + `"`, `"addresses": ["10.0.2.` + name[len(name)-1:] + `"]`, `"version": "` + version + `"`} {
		if key, _, _ := strings.Cut(field, ":"); !strings.Contains(more, key) {
			value += ", " + field
		}
	}
	return value + more + "}"
}

func instance(id, app, service, more string) string {
	return `{"id": "` + id + `", "node": "node-1", "app": "` + app + `", "service": "` + service + `", "status": "running", "started": "2026-11-20T09:32:51Z"` + more + `}`
}

const (
	one   = "instances/node-1/aaaaaaaaaaaa"
	two   = "instances/node-1/bbbbbbbbbbbb"
	node1 = "nodes/node-1"
	node2 = "nodes/node-2"
)

// TestKeys has what can be told of the keys that there are.
func TestKeys(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	for _, tc := range []struct {
		name, check string
		keys        keys
		want        Outcome
		words       []string
	}{
		{"a rack", "registry", keys{node1: node("node-1", "")}, Passed, []string{"read rack acme"}},
		{"no rack", "registry", nil, Warned, []string{"nothing of a rack acme"}},
		{"a value that is none", "registry-entries", keys{one: "{"}, Warned, []string{one}},
		{"a key that is none", "registry-entries", keys{"instances/or_ders/x": "{}"}, Warned, []string{"or_ders"}},
		{"values", "registry-entries", keys{one: instance("aaaaaaaaaaaa", "shop", "web", "")}, Passed, nil},
		{"no agent", "nodes", nil, Failed, []string{"no node has an agent"}},
		{"a node without a lease", "nodes", keys{node1: node("node-1", "")}, Warned, []string{"node-1", "no lease"}},
		{"one version", "node-versions", keys{node1: node("node-1", "")}, Passed, []string{version}},
		{"another one than ours", "node-versions", keys{node1: node("node-1", `, "version": "v0.9.0"`)}, Warned, []string{"v0.9.0"}},
		{"two versions", "node-versions", keys{node1: node("node-1", ""), node2: node("node-2", `, "version": "v0.9.0"`)}, Warned, []string{"v0.9.0 on node-2; v1.2.0 on node-1"}},
		{"no version", "node-versions", nil, Skipped, nil},
		{"two hosts", "node-identity", keys{node1: node("node-1", ""), node2: node("node-2", "")}, Passed, nil},
		{"a copied engine", "node-identity", keys{node1: node("node-1", ""), node2: node("node-2", `, "engine": "E-node-1"`)}, Failed, []string{"node-1, node-2", "E-node-1"}},
		{"one address", "node-identity", keys{node1: node("node-1", ""), node2: node("node-2", `, "addresses": ["10.0.2.1"]`)}, Failed, []string{"node-1, node-2", "10.0.2.1"}},
		{"addresses", "node-address", keys{node1: node("node-1", "")}, Passed, []string{"node-1 at 10.0.2.1"}},
		{"no address", "node-address", keys{node1: node("node-1", `, "addresses": []`)}, Failed, []string{"node-1 has no address"}},
		{"a bridge's address, alone", "node-address", keys{node1: node("node-1", bridge)}, Warned, []string{"172.17.0.1", "bridge"}},
		{"a bridge's address, with others", "node-address", keys{node1: node("node-1", bridge), node2: node("node-2", "")}, Failed, []string{"node-1 is at 172.17.0.1"}},
		{"without docker-proxy", "node-address", keys{node1: node("node-1", `, "unproxied": true`)}, Warned, []string{"node-1 runs without docker-proxy"}},
		{"none drained", "drained", keys{node1: node("node-1", "")}, Passed, nil},
		{"drained", "drained", keys{node1: node("node-1", ""), "drained/node-1": `{"node": "node-1", "by": "joe@x", "why": "new kernel"}`}, Warned, []string{"node-1", "joe@x", "new kernel"}},
		{"drained and away", "drained", keys{"drained/node-2": `{"node": "node-2", "by": "joe@x"}`}, Warned, []string{"node-2", "no agent"}},
		{"a namespace each", "namespaces", keys{one: instance("aaaaaaaaaaaa", "shop", "web", "")}, Passed, nil},
		{"a namespace for two", "namespaces", keys{
			one: instance("aaaaaaaaaaaa", "shop", "web", ""), two: instance("bbbbbbbbbbbb", "aaa", "web", `, "namespace": "shop"`),
		}, Warned, []string{"namespace shop: app shop", "by aaa"}},
		{"an alias", "aliases", keys{one: instance("aaaaaaaaaaaa", "shop", "web", `, "aliases": [{"name": "front"}]`)}, Passed, nil},
		{"an alias that is a service's name", "aliases", keys{
			one: instance("aaaaaaaaaaaa", "shop", "web", `, "aliases": [{"name": "api"}]`), two: instance("bbbbbbbbbbbb", "shop", "api", ""),
		}, Warned, []string{"alias api of app shop", "aaaaaaaaaaaa"}},
		{"a service", "services", keys{one: instance("aaaaaaaaaaaa", "shop", "web", ""), two: instance("bbbbbbbbbbbb", "shop", "web", `, "health": "unhealthy"`)}, Passed, []string{"1 service, 1 instance serving, 1 not"}},
		{"a service that doesn't serve", "services", keys{one: instance("aaaaaaaaaaaa", "shop", "web", `, "health": "unhealthy"`)}, Failed, []string{"web.shop", "1 unhealthy on node-1"}},
		{"clocks", "clock", keys{node1: node("node-1", `, "started": "2026-01-01T00:00:00Z"`)}, Passed, []string{"etcd's is ours"}},
		{"a node in the future", "clock", keys{node1: node("node-1", `, "started": "2126-01-01T00:00:00Z"`)}, Warned, []string{"node-1", "ahead of ours"}},
		{"by http", "registry-protection", nil, Warned, []string{"whoever reaches etcd"}},
		{"without users", "registry-roles", nil, Passed, nil},
		{"no alarm", "registry-alarms", nil, Passed, nil},
		{"our own etcd", "registry-version", nil, Passed, []string{"etcd 3.7."}},
		{"near", "registry-latency", nil, Passed, nil},
		{"one member", "registry-members", nil, Passed, []string{"1 member"}},
		{"no TLS", "registry-certificates", nil, Passed, nil},
	} {
		t.Run(tc.name, func(t *testing.T) { with(t, etcd, tc.keys, tc.check, tc.want, tc.words...) })
	}
}

const bridge = `, "addresses": ["172.17.0.1"], "networks": [{"id": "n", "name": "bridge", "driver": "bridge", "scope": "local", "subnets": ["172.17.0.0/16"], "gateways": ["172.17.0.1"]}]`

// Without a registry all that needs one is skipped, and nothing has passed.
func TestWithoutRegistry(t *testing.T) {
	t.Parallel()
	all, err := Run(t.Context(), lookAt("http://"+etcdtest.FreeAddr(t)))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, r := range all {
		if r.Check == "registry" && !r.is(Failed, "connection refused") {
			t.Errorf("registry: %+v", r)
		}
		if strings.Contains(r.What, errUnread.Error()) && r.Outcome != Skipped {
			t.Errorf("%+v, want it skipped", r)
		}
		if !slices.Contains(seen, r.Check) {
			seen = append(seen, r.Check)
		}
	}
	if !slices.Equal(seen, Names()) {
		t.Errorf("checks %v, want %v", seen, Names())
	}
	if Count(all)[Failed] != 1 {
		t.Errorf("%v, want one that failed", Count(all))
	}
}

// The page in docs has a section for each check, in their order, and no other.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?m)^### `([a-z-]+)`$").FindAllStringSubmatch(string(page), -1) {
		found = append(found, m[1])
	}
	if !slices.Equal(found, Names()) {
		t.Errorf("docs/doctor.md is about %v; the checks are %v", found, Names())
	}
}

// Many findings are told by the first, and a sum that is as bad as the worst.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	var all []Result
	for range most + 2 {
		all = append(all, warned("mend it", "wrong"))
	}
	all = append(all, failed("mend it", "broken"))
	got := orPassed(all, "well")
	if last := got[len(got)-1]; len(got) != most+1 || !last.is(Failed, "and 3 more") {
		t.Errorf("%+v", got)
	}
	if got := orPassed(nil, "well"); len(got) != 1 || !got[0].is(Passed, "well") {
		t.Errorf("%+v", got)
	}
}
