// Command http measures the HTTP interface of the built rackdns, beside nginx, which
// serves the same octets as a file, in the same run.
//
//	go run ./test/bench/http -bin bin/rackdns
//
// It needs nginx and wrk, and talks to the loopback interface only. Rounds alternate
// between the servers, and the tables have the medians.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == etcdMode {
		exit(serveEtcd(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == changeMode {
		exit(makeChanges(os.Args[2], os.Args[3]))
	}
	b := &bench{}
	flag.StringVar(&b.bin, "bin", "bin/rackdns", "the binary to measure")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds, of which the medians count")
	flag.DurationVar(&b.length, "time", 2*time.Second, "length of one measurement")
	flag.IntVar(&b.blocked, "blocked", 10_000, "reads that block at the same time")
	flag.IntVar(&b.changes, "changes", 1000, "changes per second")
	flag.IntVar(&b.rate, "rate", 2000, "requests per second while changes arrive")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(b.run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

type bench struct {
	bin                            string
	rounds, blocked, changes, rate int
	length                         time.Duration

	dir         string
	etcd        *process
	etcdAddr    string
	rackdns     *process
	rackdnsAddr string
	nginx       *process
	nginxAddr   string
}

// row is a line of the table.
type row struct{ what, measured, budget string }

// The services that are read: one of ten hosts, and one of a thousand.
const (
	small, large   = 10, 1000
	target         = "/v1/registration/web"
	largeProcesses = "/apps/large/processes"
)

func (b *bench) run(ctx context.Context) (err error) {
	for _, tool := range []string{"nginx", "wrk"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: it is in Debian's package of that name", err)
		}
	}
	if b.dir, err = os.MkdirTemp("", "rackdns-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() {
		b.nginx.end()
		b.rackdns.end()
		b.etcd.end()
	}()
	if err := b.start(ctx); err != nil {
		return err
	}
	var rows []row
	for _, measure := range []func(context.Context) ([]row, error){b.throughput, b.underChange, b.processes, b.blockedReads} {
		more, err := measure(ctx)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tBUDGET")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.what, r.measured, r.budget)
	}
	return w.Flush()
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// throughput compares requests per second, and the CPU time of each.
func (b *bench) throughput(ctx context.Context) ([]row, error) {
	type side struct {
		p        *process
		url      string
		qps, cpu []float64
	}
	ours, theirs := &side{p: b.rackdns, url: "http://" + b.rackdnsAddr + target}, &side{p: b.nginx, url: "http://" + b.nginxAddr + target}
	for range b.rounds {
		for _, s := range []*side{ours, theirs} {
			before, err := s.p.cpu()
			if err != nil {
				return nil, err
			}
			qps, requests, err := wrk(ctx, s.url, b.length)
			if err != nil {
				return nil, err
			}
			after, err := s.p.cpu()
			if err != nil {
				return nil, err
			}
			s.qps, s.cpu = append(s.qps, qps), append(s.cpu, 1e6*(after-before)/requests)
		}
	}
	return []row{
		{"GET " + target + ", ten hosts, requests/s", fmt.Sprintf("%.0f, %.1f µs of CPU each", median(ours.qps), median(ours.cpu)), ""},
		{"nginx, the same octets as a file", fmt.Sprintf("%.0f, %.1f µs of CPU each", median(theirs.qps), median(theirs.cpu)), ""},
		{"requests/s against nginx", fmt.Sprintf("%.2f ×", median(ours.qps)/median(theirs.qps)), "≥ 0.5 ×"},
	}, nil
}

// underChange compares latencies without and with changes elsewhere in the rack.
func (b *bench) underChange(ctx context.Context) ([]row, error) {
	var quiet, busy []float64
	for range b.rounds {
		p99, err := b.latency(ctx)
		if err != nil {
			return nil, err
		}
		quiet = append(quiet, p99)
		changer, err := launch(os.Args[0], changeMode, b.etcdAddr, fmt.Sprint(b.changes))
		if err != nil {
			return nil, err
		}
		p99, err = b.latency(ctx)
		changer.end()
		if err != nil {
			return nil, err
		}
		busy = append(busy, p99)
	}
	return []row{{
		fmt.Sprintf("p99 at %d requests/s, with %d changes/s, against without", b.rate, b.changes),
		fmt.Sprintf("%.2f × (%.2f ms, %.2f ms)", median(busy)/median(quiet), median(busy)*1e3, median(quiet)*1e3), "≤ 2 ×",
	}}, nil
}

// latency is the 99th percentile in seconds at the steady rate.
func (b *bench) latency(ctx context.Context) (float64, error) {
	const workers = 16
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	end := time.Now().Add(b.length)
	took := make(chan []float64, workers)
	failed := make(chan error, workers)
	for n := range workers {
		go func() {
			var all []float64
			every := time.Second * workers / time.Duration(b.rate)
			for at := time.Now().Add(every * time.Duration(n) / workers); at.Before(end); at = at.Add(every) {
				time.Sleep(time.Until(at))
				// From when it was due: what waits behind a slow one is slow too.
				if _, err := get(ctx, client, "http://"+b.rackdnsAddr+target); err != nil {
					failed <- err
					return
				}
				all = append(all, time.Since(at).Seconds())
			}
			took <- all
		}()
	}
	var all []float64
	for range workers {
		select {
		case some := <-took:
			all = append(all, some...)
		case err := <-failed:
			return 0, err
		}
	}
	slices.Sort(all)
	return all[len(all)*99/100], nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, resp.Status, body)
	}
	return body, err
}

// processes is how long a long list takes, over one connection.
func (b *bench) processes(ctx context.Context) ([]row, error) {
	var took []float64
	for range 20 * b.rounds {
		begin := time.Now()
		body, err := get(ctx, http.DefaultClient, "http://"+b.rackdnsAddr+largeProcesses)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin).Seconds())
		if n := strings.Count(string(body), `"id":`); n != large {
			return nil, fmt.Errorf("%s: %d of %d", largeProcesses, n, large)
		}
	}
	return []row{{fmt.Sprintf("GET %s, %d instances", largeProcesses, large), fmt.Sprintf("%.2f ms", 1e3*median(took)), "≤ 5 ms"}}, nil
}

// start starts all servers, over a rack that is filled.
func (b *bench) start(ctx context.Context) (err error) {
	addrs := [3]string{}
	for n := range addrs {
		if addrs[n], err = freeAddr(); err != nil {
			return err
		}
	}
	b.etcdAddr, b.rackdnsAddr, b.nginxAddr = addrs[0], addrs[1], addrs[2]
	if b.etcd, err = launch(os.Args[0], etcdMode, filepath.Join(b.dir, "etcd")+"@"+b.etcdAddr); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	b.rackdns, err = launch(b.bin, "api", "--rack", rackName, "--etcd", "http://"+b.etcdAddr, "--http", b.rackdnsAddr, "--data", filepath.Join(b.dir, "data"), "--node", "bench")
	if err != nil {
		return err
	}
	body, err := await(ctx, "http://"+b.rackdnsAddr+target)
	if err != nil {
		return err
	}
	if n := strings.Count(string(body), `"ip_address"`); n != small {
		return fmt.Errorf("%s: %d of %d hosts", target, n, small)
	}
	if b.nginx, err = b.startNginx(body); err != nil {
		return err
	}
	_, err = await(ctx, "http://"+b.nginxAddr+target)
	return err
}

// fill registers what is read.
func (b *bench) fill(ctx context.Context) error {
	c, err := registry.Open(registry.Config{Endpoints: []string{"http://" + b.etcdAddr}, Rack: rackName})
	if err != nil {
		return err
	}
	defer c.Close()
	for n := range small {
		if err := c.Register(ctx, host("default", "web", n), time.Hour); err != nil {
			return err
		}
	}
	for n := range large {
		if err := c.Register(ctx, host("large", "api", n), time.Hour); err != nil {
			return err
		}
	}
	return nil
}
