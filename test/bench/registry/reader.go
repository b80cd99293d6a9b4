package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// report is what the reader says, a line of JSON each.
type report struct {
	// Event is "synced" after a list, "usage" on demand, "seen" for changes.
	Event string
	// Seconds is how long the list took, CPU what it cost in seconds.
	Seconds, CPU float64
	// RSS is the resident memory now, Peak the most since the last report, in
	// bytes.
	RSS, Peak int64
	// Revision was in the index at At, in nanoseconds since 1970.
	Revision, At int64
}

// rackName is the rack that the benchmark fills.
const rackName = "bench"

// listener passes on what the follower says, and reports.
type listener struct {
	registry.Handler
	out   *json.Encoder
	start time.Time
	cpu   float64
	lists int
}

// read follows the registry as a DNS server does. On a line on its input it
// reports its usage; at the end of its input it ends.
func read(ctx context.Context, endpoint string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg := registry.Config{Endpoints: []string{endpoint}, Rack: rackName}
	x, err := index.Open(index.Config{Registry: cfg, Options: index.Options{Node: "node-0"}, Logger: log})
	if err != nil {
		return err
	}
	client, err := registry.Open(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{Handler: x.Feed(), out: json.NewEncoder(os.Stdout), start: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		registry.NewFollower(client, l, log).Run(ctx)
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := l.out.Encode(l.usage("usage")); err != nil {
			break
		}
	}
	cancel()
	<-done
	return client.Close()
}

func (l *listener) BeginList(revision int64, reset bool) {
	if l.lists > 0 {
		resetPeak()
		l.start, l.cpu = time.Now(), cpuSeconds()
	}
	l.Handler.BeginList(revision, reset)
}

func (l *listener) EndList() int64 {
	from := l.Handler.EndList()
	l.lists++
	l.report(l.usage("synced"))
	return from
}

func (l *listener) Update(entries []registry.Entry) {
	l.Handler.Update(entries)
	l.report(report{Event: "seen", Revision: entries[len(entries)-1].ModRevision, At: time.Now().UnixNano()})
}

func (l *listener) report(r report) {
	if err := l.out.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
}

func (l *listener) usage(event string) report {
	return report{
		Event: event, Seconds: time.Since(l.start).Seconds(), CPU: cpuSeconds() - l.cpu,
		RSS: status("VmRSS:"), Peak: status("VmHWM:"),
	}
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// status returns a size of this process in bytes (proc(5)).
func status(field string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), field)
	kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), "kB")), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// resetPeak makes VmHWM begin anew.
func resetPeak() {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		fmt.Fprintln(os.Stderr, "peak memory:", err)
	}
}
