package index

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// filled returns an index of so many services with three instances each, of
// which those of every hundredth service run on this node.
func filled(b *testing.B, services, each int) (*handler, *Index) {
	b.Helper()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "node-0"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	h := (*handler)(x)
	h.BeginList(1, false)
	for s := range services {
		for n := range each {
			h.List([]registry.Entry{benchEntry(b, s, n, 1, 47000)})
		}
	}
	h.EndList()
	return h, x
}

func benchEntry(b testing.TB, service, n int, revision int64, port uint16) registry.Entry {
	b.Helper()
	node := 1 + service%99
	if service%100 == 0 {
		node = 0
	}
	i := &registry.Instance{
		ID: fmt.Sprintf("%012x", service<<3|n), Node: fmt.Sprintf("node-%d", node),
		App: fmt.Sprintf("app-%d", service/10), Service: fmt.Sprintf("service-%d", service%10),
		Status: "running", Health: "healthy", Image: "example/web:1", Weight: 1, Host: netip.AddrFrom4([4]byte{10, 0, 2, byte(node)}),
		Ports: []registry.Port{{
			Name: "http", Protocol: "tcp", Container: 3000,
			Bindings: []registry.Binding{{IP: netip.AddrFrom4([4]byte{10, 0, 2, byte(node)}), Port: port}},
		}},
		Networks: []registry.Network{{
			ID: fmt.Sprintf("%012x", node), Name: "bridge", Scope: "local",
			IPv4: netip.AddrFrom4([4]byte{172, byte(17 + service>>16), byte(service >> 8), byte(service)}),
		}},
	}
	value, err := registry.Encode(i)
	if err != nil {
		b.Fatal(err)
	}
	return registry.Entry{Key: layout.Instance(i.Node, i.ID), Value: value, ModRevision: revision}
}

// BenchmarkLookup is what a query costs the index: who asks, and what that one
// can reach. The budget is 600 ns among
// 100,000 services, and no allocation.
func BenchmarkLookup(b *testing.B) {
	for _, r := range []struct{ services, each int }{{1_000, 3}, {100_000, 3}, {100_000, 6}} {
		_, x := filled(b, r.services, r.each)
		// In the order in which they are asked for, which leaps through the
		// rack as no cache could guess: a query brings its name along, so that
		// is in the cache, but nothing else is.
		names := make([]string, r.services)
		for n := range names {
			s := n * 7919 % r.services
			names[n] = fmt.Sprintf("service-%d.app-%d", s%10, s/10)
		}
		for asker, ip := range map[string]string{"container": "172.17.0.0", "stranger": "203.0.113.1"} {
			from := netip.MustParseAddr(ip)
			b.Run(fmt.Sprintf("services=%d/each=%d/asker=%s", r.services, r.each, asker), func(b *testing.B) {
				b.ReportAllocs()
				s := x.Snapshot()
				// The first one after a change works out what such askers reach, and
				// that is remembered: it has a figure of its own.
				begin := time.Now()
				for _, name := range names {
					s.Lookup(name, s.Asker(from))
				}
				first := time.Since(begin)
				b.ResetTimer()
				found := 0
				for n := range b.N {
					found += len(s.Lookup(names[n%r.services], s.Asker(from)).Endpoints)
				}
				b.ReportMetric(float64(first.Nanoseconds())/float64(len(names)), "first-ns/op")
				if found < b.N {
					b.Fatalf("%d lookups found %d endpoints", b.N, found)
				}
			})
		}
	}
}

// BenchmarkChange is what one change of one instance costs, from its value as
// etcd sends it to the snapshot that queries see. The budget is 50 µs of CPU
// among 300,000 instances.
func BenchmarkChange(b *testing.B) {
	for _, services := range []int{1_000, 100_000} {
		h, x := filled(b, services, 3)
		b.Run(fmt.Sprintf("instances=%d", services*3), func(b *testing.B) {
			b.ReportAllocs()
			changes := make([]registry.Entry, 10_000)
			for n := range changes {
				changes[n] = benchEntry(b, n*7919%services, n%3, 0, uint16(48000+n))
			}
			revision := x.Snapshot().Revision()
			b.ResetTimer()
			for n := range b.N {
				revision++
				e := changes[n%len(changes)]
				e.ModRevision = revision
				h.Update([]registry.Entry{e})
			}
			if got := x.Snapshot().Revision(); got != revision {
				b.Fatalf("at revision %d, want %d", got, revision)
			}
		})
	}
}

// BenchmarkCollection is what the garbage collector needs for one look at the
// rack, on all processors, which queries pay for: their garbage is why it looks.
func BenchmarkCollection(b *testing.B) {
	for _, services := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			_, x := filled(b, services, 3)
			sample := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/heap/live:bytes"}}
			cpu := func() float64 {
				runtime.GC()
				metrics.Read(sample)
				return sample[0].Value.Float64()
			}
			before := cpu()
			for b.Loop() {
				runtime.GC()
			}
			b.ReportMetric(1e3*(cpu()-before)/float64(b.N+1), "cpu-ms/op")
			b.ReportMetric(float64(sample[1].Value.Uint64())/(1<<20), "live-MiB")
			runtime.KeepAlive(x)
		})
	}
}

// BenchmarkList is what a first sync costs the index for each instance, with
// the decoding, on all processors.
func BenchmarkList(b *testing.B) {
	const services = 7_000
	var entries []registry.Entry
	for s := range services {
		for n := range 3 {
			entries = append(entries, benchEntry(b, s, n, 1, 47000))
		}
	}
	// As etcd sends them.
	slices.SortFunc(entries, func(x, y registry.Entry) int { return strings.Compare(x.Key, y.Key) })
	b.ReportAllocs()
	for b.Loop() {
		x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "node-0"}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		h := (*handler)(x)
		h.BeginList(1, false)
		for page := range slices.Chunk(entries, 1000) {
			h.List(page)
		}
		h.EndList()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(entries)), "ns/instance")
}
