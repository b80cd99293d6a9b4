// Command registry measures the registry and the index in a rack of 300,000
// instances, and prints what it finds beside what it should be:
//
//	go run ./test/bench/registry
//
// etcd, the reader and the writer are processes of their own, so that each
// one's memory and processor time are its own too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/rackdns/rackdns/test/bench/benchetcd"
)

// sizes are what a run does.
type sizes struct {
	instances int
	rate      int
	seconds   int
}

func main() {
	var s sizes
	flag.IntVar(&s.instances, "instances", 300_000, "instances in the rack")
	flag.IntVar(&s.rate, "rate", 1000, "changes per second")
	flag.IntVar(&s.seconds, "seconds", 60, "how long to make changes")
	role := flag.String("role", "", "etcd or reader: what the program calls itself with")
	dir := flag.String("dir", "", "for those: the data directory")
	endpoint := flag.String("endpoint", "", "for those: etcd's address")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	switch *role {
	case "etcd":
		err = benchetcd.Serve(ctx, *dir, *endpoint)
	case "reader":
		err = read(ctx, *endpoint)
	default:
		err = run(ctx, s)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table.
type row struct{ what, measured, budget string }

func run(ctx context.Context, s sizes) error {
	var rows []row
	r, err := startRack(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	empty, err := r.startReader(ctx, r.endpoint)
	if err != nil {
		return err
	}
	none := empty.synced.RSS
	empty.close()

	fmt.Fprintf(os.Stderr, "writing %d instances…\n", s.instances)
	if err := r.fill(ctx, s.instances); err != nil {
		return err
	}
	// The wire to the reader that is cut off would take a good part of the
	// machine while so much goes through it.
	direct, err := r.startReader(ctx, r.endpoint)
	if err != nil {
		return err
	}
	first := direct.synced
	direct.close()
	reader, err := r.startReader(ctx, r.wire.Listen)
	if err != nil {
		return err
	}
	defer reader.close()
	settled, err := reader.settle(ctx)
	if err != nil {
		return err
	}
	rows = append(rows,
		row{"first sync", fmt.Sprintf("%.2f s, %.2f s of CPU", first.Seconds, first.CPU), "≤ 6 s"},
		row{"memory per instance, after it", perInstance(settled.RSS-none, s.instances), "≤ 1.5 KB"})

	fmt.Fprintf(os.Stderr, "compacting behind the reader's back…\n")
	again, err := r.resync(ctx, reader)
	if err != nil {
		return err
	}
	rows = append(rows,
		row{"resync after a compaction", fmt.Sprintf("%.2f s, %.2f s of CPU", again.Seconds, again.CPU), "≤ 6 s"},
		row{"peak memory during it", fmt.Sprintf("%.2f × before", float64(again.Peak)/float64(settled.RSS)), "≤ 2 ×"})

	fmt.Fprintf(os.Stderr, "%d changes per second for %d s…\n", s.rate, s.seconds)
	c, err := r.change(ctx, reader, s)
	if err != nil {
		return err
	}
	rows = append(rows,
		row{"changes made and seen", fmt.Sprintf("%d of %d, %.0f per second", c.seen, c.made, c.rate), fmt.Sprintf("%d per second", s.rate)},
		row{"from commit to index, p50", c.p50.Round(10 * time.Microsecond).String(), ""},
		row{"from commit to index, p99", c.p99.Round(10 * time.Microsecond).String(), "≤ 100 ms"},
		row{"reader's CPU per change", fmt.Sprintf("%.0f µs", c.cpu*1e6), ""},
		row{"memory per instance, after them", perInstance(c.rss-none, s.instances), "≤ 1.5 KB"})

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d INSTANCES\tMEASURED\tBUDGET\n", s.instances)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.what, r.measured, r.budget)
	}
	return w.Flush()
}

func perInstance(bytes int64, instances int) string {
	return fmt.Sprintf("%.2f KB", float64(bytes)/float64(instances)/1000)
}
