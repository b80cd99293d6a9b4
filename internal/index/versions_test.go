package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// times is how often something is tried that a race may or may not show.
func times(short, soak int) int {
	if os.Getenv("RACKDNS_SOAK") != "" {
		return soak
	}
	return short
}

// fleet are nodes that register instances, change them and remove them.
type fleet struct {
	client      *clientv3.Client
	nodes, each int

	mu sync.Mutex
	// weights are those of what is registered, by key.
	weights map[string]int
	// serial is the revision of the last change that DNS shows.
	serial int64
}

func newFleet(client *clientv3.Client, nodes, each int) *fleet {
	return &fleet{client: client, nodes: nodes, each: each, weights: map[string]int{}}
}

// all calls do for each node, many at once, with the numbers of its instances.
func (f *fleet) all(do func(node, n int) error) error {
	var g errgroup.Group
	for node := range f.nodes {
		g.Go(func() error {
			for n := range f.each {
				if err := do(node, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (f *fleet) put(node, n, weight int) error {
	i := web(fmt.Sprintf("%06d%06d", node, n))
	i.Node, i.Weight = fmt.Sprintf("node-%d", node), weight
	value, err := registry.Encode(i)
	if err != nil {
		return err
	}
	key := layout.Instance(i.Node, i.ID)
	r, err := f.client.Put(context.Background(), key, string(value))
	if err != nil {
		return err
	}
	f.note(key, weight, r.Header.Revision)
	return nil
}

// note takes down what was registered; weight 0 is nothing.
func (f *fleet) note(key string, weight int, revision int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.weights[key] != weight {
		f.serial = max(f.serial, revision)
	}
	f.weights[key] = weight
	if weight == 0 {
		delete(f.weights, key)
	}
}

// register registers all instances anew, in an etcd that has none.
func (f *fleet) register() error {
	f.mu.Lock()
	f.serial = 0
	clear(f.weights)
	f.mu.Unlock()
	return f.all(func(node, n int) error {
		if n == 0 {
			name := fmt.Sprintf("node-%d", node)
			if _, err := f.client.Put(context.Background(), layout.Node(name), `{"node":"`+name+`"}`); err != nil {
				return err
			}
		}
		return f.put(node, n, 1)
	})
}

// churn changes the weight of each instance three times, and then removes the
// first one of each node.
func (f *fleet) churn() error {
	for range 3 {
		if err := f.all(func(node, n int) error { return f.put(node, n, 1+rand.IntN(100)) }); err != nil {
			return err
		}
	}
	return f.all(func(node, n int) error {
		if n > 0 {
			return nil
		}
		key := layout.Instance(fmt.Sprintf("node-%d", node), fmt.Sprintf("%06d%06d", node, n))
		r, err := f.client.Delete(context.Background(), key)
		if err == nil {
			f.note(key, 0, r.Header.Revision)
		}
		return err
	})
}

// holds returns how the index differs from what was registered, if it does.
func (f *fleet) holds(x *Index) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, wrong := 0, 0
	s := x.Snapshot()
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				found++
				if f.weights[layout.Instance(i.Node(), i.ID())] != int(i.Weight()) {
					wrong++
				}
			}
		}
	}
	if found != len(f.weights) || wrong > 0 {
		return fmt.Errorf("has %d instances, %d of them wrong, at revision %d; want %d", found, wrong, s.Revision(), len(f.weights))
	}
	return nil
}

// agrees is holds, and that the serial is the one that it has to be.
func (f *fleet) agrees(x *Index) error {
	if err := f.holds(x); err != nil {
		return err
	}
	if got := x.Snapshot().Serial(); got != f.serial {
		return fmt.Errorf("has serial %d, want %d", got, f.serial)
	}
	return nil
}

// whileReading starts n servers one after the other while work is done, and
// returns them when both have come to an end.
func whileReading(t *testing.T, endpoints []string, n int, work func() error) []*Index {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- work() }()
	all := make([]*Index, n)
	for i := range all {
		all[i] = follow(t, endpoints)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return all
}

func (f *fleet) agreeEventually(t *testing.T, all []*Index) {
	t.Helper()
	for n, x := range all {
		etcdtest.Eventually(t, fmt.Sprintf("server %d", n), func() error { return f.agrees(x) })
	}
}

// TestRegistryFillsWhileRead: servers that start while nodes register end with
// everything, and with the serial of the last change, whatever the version of
// etcd. Those before 3.4.25 and 3.5.8 say that they have sent everything before
// they have.
func TestRegistryFillsWhileRead(t *testing.T) {
	t.Parallel()
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			// What is registered again is no change that DNS shows, so each time
			// it is another registry.
			for range times(1, 5) {
				etcd := etcdtest.StartProcesses(t, v, 1)
				f := newFleet(etcd.Client(), 100, 5)
				f.agreeEventually(t, whileReading(t, etcd.Endpoints(), 15, f.register))
			}
		})
	}
}

// TestRegistryChangesWhileRead: so do those that start while weights change and
// instances go. None of them answers for ever with what is gone.
func TestRegistryChangesWhileRead(t *testing.T) {
	t.Parallel()
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.StartProcesses(t, v, 1)
			f := newFleet(etcd.Client(), 20, 10)
			all := []*Index{follow(t, etcd.Endpoints())}
			if err := f.register(); err != nil {
				t.Fatal(err)
			}
			for range times(1, 8) {
				all = append(all, whileReading(t, etcd.Endpoints(), 8, f.churn)...)
				f.agreeEventually(t, all)
			}
			// Nor does the time at which a server starts tell in its serial.
			f.agreeEventually(t, []*Index{follow(t, etcd.Endpoints())})
		})
	}
}

// TestRegistryWiped: all members lose all that they have, and are filled again
// while servers read, old ones and new ones.
func TestRegistryWiped(t *testing.T) {
	t.Parallel()
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.StartProcesses(t, v, 3)
			f := newFleet(etcd.Client(), 30, 5)
			if err := f.register(); err != nil {
				t.Fatal(err)
			}
			for range times(1, 3) {
				old := follow(t, etcd.Endpoints())
				f.agreeEventually(t, []*Index{old})
				etcd.Wipe()
				etcd.Start()
				f.agreeEventually(t, whileReading(t, etcd.Endpoints(), 4, f.register))
				etcdtest.Eventually(t, "the server that was there before", func() error { return f.holds(old) })
			}
		})
	}
}
