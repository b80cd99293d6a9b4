// Command propagation measures how long it takes until DNS knows what happened
// on a Docker host: from the return of `docker start` to the first answer, and
// from the issue of `docker kill` to the last, beside a few and beside many
// other containers.
//
//	go run ./test/bench/propagation -bin bin/rackdns
//
// It runs `rackdns standalone` as it comes, with a registry that syncs to disk,
// and asks it all the time, at a bounded rate. Times are those of the engine's
// API, without the docker command's own start. The table has the medians of the
// rounds; an answer may well come before `docker start` returns.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	b := &bench{}
	var others string
	flag.StringVar(&b.bin, "bin", "bin/rackdns", "the binary to measure")
	flag.StringVar(&b.host, "docker", "", "address of the Docker Engine (default as for the docker command)")
	flag.StringVar(&others, "others", "5,500", "numbers of other containers")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds, of which the medians count")
	flag.IntVar(&b.cycles, "cycles", 100, "containers that are started and killed in a round")
	flag.DurationVar(&b.pace, "pace", 500*time.Microsecond, "time between two questions")
	flag.Parse()
	for s := range strings.SplitSeq(others, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			exit(fmt.Errorf("-others %q: want numbers", others))
		}
		b.others = append(b.others, n)
	}
	slices.Sort(b.others)
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
	bin, host      string
	others         []int
	rounds, cycles int
	pace           time.Duration

	engine *engine
	server *server
	served int
}

// result is what one round, or the median of several, says.
type result struct {
	startP50, startP99, killP50, killP99 time.Duration
	// ended is what it takes from the issue of a kill to the end of the process,
	// told what the engine takes to its event.
	ended, told time.Duration
	// Means of the server's own histograms, for where the time goes.
	inspect, commit, index time.Duration
}

func (b *bench) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "rackdns-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.engine, err = newEngine(ctx, b.host, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.engine.end()) }()
	if b.server, err = startServer(ctx, b.bin, b.host, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.end()) }()

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "others\tstart p50\tp99\tkill p50\tp99\tkill→end\tkill→event\tinspect\tevent→commit\tevent→index\t")
	for _, n := range b.others {
		if err := b.crowd(ctx, n); err != nil {
			return err
		}
		var rounds []result
		for r := range b.rounds {
			res, err := b.round(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%d others, round %d of %d: start %s, %s, kill %s, %s; load %s\n", n, r+1, b.rounds,
				ms(res.startP50), ms(res.startP99), ms(res.killP50), ms(res.killP99), load())
			rounds = append(rounds, res)
		}
		m := medians(rounds)
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", n,
			ms(m.startP50), ms(m.startP99), ms(m.killP50), ms(m.killP99), ms(m.ended), ms(m.told), ms(m.inspect), ms(m.commit), ms(m.index))
	}
	return table.Flush()
}

// crowd has so many other containers running, and registered.
func (b *bench) crowd(ctx context.Context, n int) error {
	begun := time.Now()
	if err := b.engine.crowd(ctx, n); err != nil {
		return fmt.Errorf("%d other containers: %w", n, err)
	}
	fmt.Fprintf(os.Stderr, "%d other containers run after %s\n", n, time.Since(begun).Round(time.Second))
	return b.server.settled(ctx, b.engine.crowded)
}

// round starts and kills containers one after the other.
func (b *bench) round(ctx context.Context) (result, error) {
	var starts, kills, ends, tolds []time.Duration
	before, err := b.server.histograms(ctx)
	if err != nil {
		return result{}, err
	}
	for range b.cycles {
		b.served++
		c, err := b.cycle(ctx, fmt.Sprint("s", b.served))
		if err != nil {
			return result{}, err
		}
		starts, kills = append(starts, c.start), append(kills, c.kill)
		ends, tolds = append(ends, c.ended), append(tolds, c.told)
	}
	after, err := b.server.histograms(ctx)
	if err != nil {
		return result{}, err
	}
	return result{
		startP50: percentile(starts, 50), startP99: percentile(starts, 99),
		killP50: percentile(kills, 50), killP99: percentile(kills, 99),
		ended: percentile(ends, 50), told: percentile(tolds, 50),
		inspect: after.inspect.since(before.inspect),
		commit:  after.commit.since(before.commit),
		index:   after.index.since(before.index),
	}, nil
}

// cycle is what became of one container.
type cycle struct{ start, kill, ended, told time.Duration }

// cycle starts and kills one container of a service of its own.
func (b *bench) cycle(ctx context.Context, service string) (c cycle, err error) {
	id, err := b.engine.create(ctx, service)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, b.engine.remove(id)) }()
	poll, err := startPoll(ctx, b.server.dns, service+"."+app+"."+zone, b.pace)
	if err != nil {
		return c, err
	}
	defer poll.end()
	if err := b.engine.start(ctx, id); err != nil {
		return c, err
	}
	returned := time.Now()
	first, err := poll.first(ctx)
	if err != nil {
		return c, fmt.Errorf("start of %s: %w", service, err)
	}
	// What follows the start is over before the kill.
	if err := pause(ctx, 50*time.Millisecond); err != nil {
		return c, err
	}
	ends, err := b.engine.watch(ctx, id)
	if err != nil {
		return c, err
	}
	issued := time.Now()
	if err := b.engine.kill(ctx, id); err != nil {
		return c, err
	}
	last, err := poll.last(ctx)
	if err != nil {
		return c, fmt.Errorf("kill of %s: %w", service, err)
	}
	told, err := b.engine.killed(ctx, id, issued)
	ended, ok := <-ends
	if !ok {
		return c, errors.Join(err, fmt.Errorf("kill of %s: its process goes on", service))
	}
	return cycle{first.Sub(returned), last.Sub(issued), ended.Sub(issued), told.Sub(issued)}, err
}

// percentile is the smallest of the times that p percent of them don't exceed.
func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

func medians(rounds []result) result {
	of := func(field func(result) time.Duration) time.Duration {
		all := make([]time.Duration, 0, len(rounds))
		for _, r := range rounds {
			all = append(all, field(r))
		}
		return percentile(all, 50)
	}
	return result{
		startP50: of(func(r result) time.Duration { return r.startP50 }),
		startP99: of(func(r result) time.Duration { return r.startP99 }),
		killP50:  of(func(r result) time.Duration { return r.killP50 }),
		killP99:  of(func(r result) time.Duration { return r.killP99 }),
		ended:    of(func(r result) time.Duration { return r.ended }),
		told:     of(func(r result) time.Duration { return r.told }),
		inspect:  of(func(r result) time.Duration { return r.inspect }),
		commit:   of(func(r result) time.Duration { return r.commit }),
		index:    of(func(r result) time.Duration { return r.index }),
	}
}

// load is the machine's, without which the numbers say little: what else runs
// there takes its time from the engine, too.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
