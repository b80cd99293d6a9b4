// Command dns measures how fast the built rackdns answers, beside CoreDNS's
// own plugins in the same binary and in the same run: queries per second,
// latencies at a rate that all can keep up with, and the CPU time that a query
// takes in the server, which is what tells on a noisy machine.
//
//	go run ./test/bench/dns -bin bin/rackdns
//
// It needs dnsperf, and talks to the loopback interface only. Rounds alternate
// between the servers, and the tables have the medians. If an etcd is installed
// (Debian's package etcd-server), CoreDNS's etcd plugin is measured over that
// one, too, as most people run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == etcdMode {
		exit(serveEtcd(os.Args[2]))
	}
	if len(os.Args) == 6 && os.Args[1] == changeMode {
		exit(makeChanges(os.Args[2], os.Args[3], os.Args[4], os.Args[5]))
	}
	b := &bench{}
	var sizes string
	flag.StringVar(&b.bin, "bin", "bin/rackdns", "the binary to measure")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds, of which the medians count")
	flag.DurationVar(&b.length, "time", 2*time.Second, "length of one measurement, of which a round has two of each kind")
	flag.IntVar(&b.steady, "steady", 5000, "queries per second while latencies are measured")
	flag.StringVar(&sizes, "services", "1000,100000", "numbers of services, of three instances each")
	flag.IntVar(&b.qps, "qps", 10000, "queries per second while changes arrive")
	flag.IntVar(&b.changes, "changes", 1000, "changes per second")
	flag.StringVar(&b.peerBin, "etcd", found("etcd"), "an etcd for CoreDNS's etcd plugin to ask, beside the one that is embedded; may be empty")
	flag.Parse()
	for s := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			exit(fmt.Errorf("-services %q: want numbers", sizes))
		}
		b.sizes = append(b.sizes, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(b.run(ctx))
}

// found returns where a program is, empty if it isn't installed.
func found(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

type bench struct {
	bin, peerBin string
	rounds       int
	length       time.Duration
	steady       int
	sizes        []int
	qps, changes int

	dir string
	// etcd is the registry, peer the one that is for CoreDNS's etcd plugin only,
	// nil if there is none.
	etcd, peer *process
	peerName   string
	servers    []*server
}

// measurement is one server asked one kind of question.
type measurement struct {
	server   *server
	kind     string
	file     string
	qps      []float64
	cpu      []float64 // microseconds of CPU for a query
	p50, p99 []float64 // microseconds until the answer
}

func (b *bench) run(ctx context.Context) (err error) {
	if _, err := exec.LookPath("dnsperf"); err != nil {
		return fmt.Errorf("%w: it is in Debian's package dnsperf", err)
	}
	if b.dir, err = os.MkdirTemp("", "rackdns-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() {
		for _, s := range b.servers {
			s.end()
		}
		b.etcd.end()
		b.peer.end()
	}()
	if err := b.start(ctx); err != nil {
		return err
	}
	all, err := b.measurements()
	if err != nil {
		return err
	}
	for r := range b.rounds {
		if err := b.round(ctx, all); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", r+1, b.rounds)
	}
	found := &results{all: all}
	if err := b.underChange(ctx, found); err != nil {
		return err
	}
	return b.print(found)
}

// measurements are what each server can be asked.
func (b *bench) measurements() ([]*measurement, error) {
	var all []*measurement
	for _, s := range b.servers {
		for _, kind := range s.kinds {
			file, err := b.queries(s, kind)
			if err != nil {
				return nil, err
			}
			all = append(all, &measurement{server: s, kind: kind, file: file})
		}
	}
	return all, nil
}

// round measures all servers, one kind of question after the other, there and
// back: each twice, so that a machine that gets slower or faster meanwhile does
// so for all that are compared.
func (b *bench) round(ctx context.Context, all []*measurement) error {
	for _, kind := range []string{kindA, kindSRV, kindNoData, kindNXDomain} {
		var asked []*measurement
		for _, m := range all {
			if m.kind == kind {
				asked = append(asked, m)
			}
		}
		costs := map[*measurement]cost{}
		for n := range 2 * len(asked) {
			m := asked[min(n, 2*len(asked)-1-n)]
			c, err := b.cost(ctx, m)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", m.server.name, m.kind, err)
			}
			costs[m] = costs[m].plus(c)
		}
		for _, m := range asked {
			m.qps = append(m.qps, costs[m].perSecond(2*b.length))
			m.cpu = append(m.cpu, costs[m].perQuery())
			// A server that has more to do than it can tells of its queue alone.
			all, err := latencies(ctx, m.server.port, m.file, b.steady, b.length/2)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", m.server.name, m.kind, err)
			}
			m.p50, m.p99 = append(m.p50, percentile(all, 50)), append(m.p99, percentile(all, 99))
		}
	}
	return nil
}

// cost is what so many queries took.
type cost struct {
	queries int
	cpu     time.Duration
}

func (c cost) plus(o cost) cost { return cost{c.queries + o.queries, c.cpu + o.cpu} }

func (c cost) perSecond(length time.Duration) float64 { return float64(c.queries) / length.Seconds() }

// perQuery is in microseconds.
func (c cost) perQuery() float64 { return float64(c.cpu.Microseconds()) / float64(c.queries) }

// cost has as many questions asked as are answered in the time.
func (b *bench) cost(ctx context.Context, m *measurement) (cost, error) {
	pids := []int{m.server.pid()}
	if e := m.server.backend; e != nil {
		pids = append(pids, e.pid())
	}
	before, err := cpuOf(pids)
	if err != nil {
		return cost{}, err
	}
	queries, err := dnsperf(ctx, m.server.port, m.file, "-l", fmt.Sprint(b.length.Seconds()))
	if err != nil {
		return cost{}, err
	}
	after, err := cpuOf(pids)
	return cost{queries, after - before}, err
}

// elsewhere is a rack that no server serves.
const elsewhere = "elsewhere"

// underChange compares latencies at a steady rate of queries while instances of
// the server's rack change, and while those of another rack do: etcd and the
// writer, which would be on other machines, take as much of this one in both.
func (b *bench) underChange(ctx context.Context, r *results) error {
	if err := b.etcd.yield(); err != nil {
		return err
	}
	m := r.find(rackName(b.sizes[0]), kindA)
	for range b.rounds {
		var calm, busy []time.Duration
		for _, u := range []struct {
			rack string
			all  *[]time.Duration
		}{{elsewhere, &calm}, {rackOf(b.sizes[0]), &busy}, {rackOf(b.sizes[0]), &busy}, {elsewhere, &calm}} {
			writer, err := b.change(u.rack)
			if err != nil {
				return err
			}
			all, err := latencies(ctx, m.server.port, m.file, b.qps, 2*b.length)
			if err := errors.Join(err, writer.finish()); err != nil {
				return err
			}
			*u.all = append(*u.all, all...)
		}
		r.calm.add(calm)
		r.busy.add(busy)
	}
	return nil
}
