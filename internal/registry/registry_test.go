package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// The members of a cluster talk HTTP to each other. After the sudden end of one
// some of that lingers on, in those goroutines of the standard library's.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		// A wire that is cut while something is on its slow way.
		goleak.IgnoreTopFunction("github.com/Shopify/toxiproxy/v2/toxics.(*LatencyToxic).Pipe"))
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open returns a client that ends with the test.
func open(t *testing.T, cfg registry.Config) *registry.Client {
	t.Helper()
	if cfg.Rack == "" {
		cfg.Rack = "acme"
	}
	c, err := registry.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func instance(id string) *registry.Instance {
	return &registry.Instance{
		ID: id, Node: "node-1", App: "shop", Service: "web", Namespace: "shop", Status: "running", Weight: 1,
		Host: netip.MustParseAddr("10.0.2.10"),
		Ports: []registry.Port{{
			Name: "http", Protocol: "tcp", Container: 3000,
			Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.2.10"), Port: 47889}},
		}},
	}
}

func instances(ids ...string) map[string]*registry.Instance {
	all := map[string]*registry.Instance{}
	for _, id := range ids {
		all[id] = instance(id)
	}
	return all
}

// keys returns the values of all keys below a prefix, straight from etcd.
func keys(t *testing.T, c cluster, prefix string) map[string]string {
	t.Helper()
	return keysOf(t, c.Client(), prefix)
}

// picture is a Handler that keeps what it is told in a plain map.
type picture struct {
	mu sync.Mutex
	// values are those of complete lists and of updates.
	values map[string]string
	listed map[string]string
	// lists counts complete lists, resets those of another history.
	lists, resets int
	// confirmed counts the answers of the registry.
	confirmed int
	reset     bool
	// revisions and digest sum up what it holds.
	digest    registry.Digest
	revisions map[string]int64
	past      []registry.Change
	onTick    func()
}

func (p *picture) BeginList(_ int64, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed, p.reset = map[string]string{}, reset
	p.digest, p.revisions = registry.Digest{}, map[string]int64{}
}

func (p *picture) List(entries []registry.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range entries {
		p.listed[e.Key] = string(e.Value)
		p.note(e)
	}
}

func (p *picture) Replay(_ int64, changes []registry.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = append(p.past, changes...)
}

// replayed is the revision of the last change that was replayed.
func (p *picture) replayed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.past) == 0 {
		return 0
	}
	return p.past[len(p.past)-1].New.ModRevision
}

func (p *picture) Tick(time.Time) {
	if p.onTick != nil {
		p.onTick()
	}
}

func (p *picture) EndList() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values = p.listed
	p.lists++
	if p.reset {
		p.resets++
	}
	return 1
}

func (p *picture) Update(entries []registry.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range entries {
		p.note(e)
		if e.Deleted() {
			delete(p.values, e.Key)
		} else {
			p.values[e.Key] = string(e.Value)
		}
	}
}

func (p *picture) note(e registry.Entry) {
	now := e.ModRevision
	if e.Deleted() {
		now = 0
	}
	p.digest.Set(e.Key, p.revisions[e.Key], now)
	p.revisions[e.Key] = now
}

func (p *picture) Confirm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.confirmed++
}

func (p *picture) Digest() registry.Digest { return p.digest }

func (p *picture) state() (values map[string]string, lists, resets, confirmed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.values), p.lists, p.resets, p.confirmed
}

// sees waits until the picture is want.
func (p *picture) sees(t *testing.T, want map[string]string) {
	t.Helper()
	etcdtest.Eventually(t, "the follower's picture", func() error {
		if got, _, _, _ := p.state(); !maps.Equal(got, want) {
			return fmt.Errorf("has keys %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		return nil
	})
}

// follow runs a Follower until the test ends.
func follow(t *testing.T, c *registry.Client) *picture {
	t.Helper()
	p := &picture{}
	followWith(t, registry.NewFollower(c, p, discard()))
	return p
}

func followWith(t *testing.T, f *registry.Follower) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) { f.Run(ctx) })
}

// run runs f in the background and returns a function that ends it and waits.
func run(t *testing.T, f func(ctx context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// newPublisher returns a Publisher of node-1 on engine E1.
func newPublisher(c *registry.Client, ttl time.Duration) *registry.Publisher {
	return registry.NewPublisher(c, registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "E1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}},
		TTL:  ttl, Logger: discard(),
	})
}

// publish runs a publisher until stop is called or the test ends.
func publish(t *testing.T, p *registry.Publisher) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) {
		if err := p.Run(ctx); err != nil {
			t.Errorf("publisher: %v", err)
		}
	})
}

// holds waits until exactly these instances of node-1 are registered.
func holds(t *testing.T, c cluster, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	client := c.Client()
	etcdtest.Eventually(t, "registered instances", func() error {
		var got []string
		for k := range keysOf(t, client, "/rackdns/v1/acme/instances/node-1/") {
			got = append(got, k[strings.LastIndexByte(k, '/')+1:])
		}
		slices.Sort(got)
		if !slices.Equal(got, ids) {
			return fmt.Errorf("are %v, want %v", got, ids)
		}
		return nil
	})
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
