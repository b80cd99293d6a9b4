package test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/timer"
)

// journal is a log that is read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) says(what string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.Contains(j.b.String(), what) {
		return fmt.Errorf("no %q in\n%s", what, j.b.String())
	}
	return nil
}

// runnerOf is that of another agent in the app's rack, whose log is kept.
func (a *app) runnerOf(node string) (*timer.Runner, *journal) {
	a.t.Helper()
	c, err := registry.Open(registry.Config{Rack: a.rack.name, Endpoints: []string{a.rack.etcd}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	log := &journal{}
	return timer.New(timer.Config{
		Rack: a.rack.name, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Dial: newEngine,
		Claim: func(ctx context.Context, app, name string, at time.Time) (bool, error) {
			return c.ClaimRun(ctx, app, name, node, at)
		},
	}), log
}

// Timers run at their times and at no others, once, whichever nodes have them;
// what happens when the last run goes on is as the manifest says.
func TestTimers(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	manifest := fmt.Sprintf(`services: {web: {image: %s, port: 3000}}
timers:
  works: {service: web, schedule: "0 3 1 1 *", command: "-ask 127.0.0.1:53"}
  fails: {service: web, schedule: "0 3 1 1 *", command: -no-such-flag, parallelCount: 2}
  waits: {service: web, schedule: "0 3 1 1 *", concurrency: forbid}
  gives: {service: web, schedule: "0 3 1 1 *", concurrency: replace}
  joins: {service: web, schedule: "0 3 1 1 *"}
  others: {service: web, schedule: "0 4 1 1 *"}
`, ours)
	a.write("convox.yml", manifest)
	out := a.run("up")
	if want := "works    runs at 0 3 1 1 *, next at 20"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	if n := len(a.containers()); n != 8 {
		t.Errorf("%d containers, want one of web and seven of timers", n)
	}
	if out := a.run("up"); strings.Contains(out, "started") || strings.Count(out, "unchanged") != 7 {
		t.Errorf("the same again printed\n%s", out)
	}
	started := func(name string) string {
		t.Helper()
		return a.one("timer-" + name).inspect().State.StartedAt
	}
	never := started("others")

	ctx := engineContext(t)
	one, log := a.runnerOf("node-1")
	other, otherLog := a.runnerOf("node-2")
	at := time.Date(2030, 1, 1, 3, 0, 0, 0, time.UTC)
	one.Look(ctx, at.Add(time.Minute))
	for _, name := range []string{"works", "waits", "gives", "joins", "others"} {
		if s := started(name); s != never {
			t.Errorf("%s was started at %s, and it was not its time", name, s)
		}
	}
	one.Look(ctx, at)
	eventually(t, "the end of what works", func() error { return log.says(`"timer is done" app=` + a.name + ` timer=timer-works`) })
	eventually(t, "the end of what fails", func() error {
		for n := 1; n <= 2; n++ {
			if err := log.says(fmt.Sprintf("timer=timer-fails container=%s-timer-fails-%d due=2030-01-01T03:00:00.000Z exitcode=2", a.name, n)); err != nil {
				return err
			}
		}
		return nil
	})
	if s := started("others"); s != never {
		t.Errorf("others was started at %s, and it was not its time", s)
	}
	eventually(t, "a run in ps", func() error {
		if out := run(t, "ps", a.name, "--rack", a.rack.name, "--etcd", a.rack.etcd); !strings.Contains(out, "timer-waits ") {
			return fmt.Errorf("ps printed\n%s", out)
		}
		return nil
	})

	before := map[string]string{}
	for _, name := range []string{"works", "waits", "gives", "joins"} {
		before[name] = started(name)
	}
	other.Look(ctx, at)
	one.Look(ctx, at)
	for name, was := range before {
		if s := started(name); s != was {
			t.Errorf("%s has run again at %s for the same time", name, s)
		}
	}
	if err := otherLog.says("timer"); err == nil {
		t.Error("the other node has run some")
	}

	other.Look(ctx, at.AddDate(1, 0, 0))
	if s := started("waits"); s != before["waits"] {
		t.Error("a timer that forbids it was started beside itself")
	}
	for _, name := range []string{"works", "gives"} {
		if s := started(name); s == before[name] {
			t.Errorf("%s has not run the next time", name)
		}
	}
	if s := started("joins"); s != before["joins"] {
		t.Error("the run of a timer that allows two was ended")
	}
	beside := &instance{id: a.name + "-timer-joins-1-203101010300", name: "beside", cli: a.cli, t: t}
	if s := beside.inspect().State; !s.Running {
		t.Errorf("beside it one is %s", s.Status)
	}
	beside.remove()

	services, _, _ := strings.Cut(manifest, "timers:")
	a.write("convox.yml", services)
	if out := a.run("up"); strings.Count(out, "stopped instance") != 7 {
		t.Errorf("without timers up printed\n%s", out)
	}
	a.run("down")
}

// The agent looks at each full minute.
func TestTimerOfAgent(t *testing.T) {
	t.Parallel()
	ours := imageOf(t, testImage)
	a := newApp(t, startRack(t, newBridge(t)))
	a.write("convox.yml", fmt.Sprintf(`services: {web: {image: %s, port: 3000}}
timers: {often: {service: web, schedule: "* * * * *", command: "-ask 127.0.0.1:53"}}
`, ours))
	a.run("up")
	eventually(t, "a word of the agent", func() error {
		if out := a.rack.out.String(); !strings.Contains(out, `msg="timer is done" app=`+a.name+` timer=timer-often`) {
			return fmt.Errorf("it said\n%s", out)
		}
		return nil
	})
}
