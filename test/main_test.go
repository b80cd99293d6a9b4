// Package test holds the tests that cross processes: the real binary, a real
// Docker Engine, a real etcd, real resolvers. Nothing here is simulated but a
// fault that the real thing won't produce on demand.
//
// The engine is shared: an agent sees the containers of other tests too, and
// those of whoever works on the same machine. So each test has a network, app
// names and ports of its own, and counts only what it made.
package test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rackdns/rackdns/test/program"
)

// runID is in the name and the label of everything that this run makes.
var runID = strings.ToLower(rand.Text()[:8])

// version is what the binary under test was built as.
const version = program.Version

// runDir holds what all tests of a run share. Others may read it, since one
// test runs the binary as another user.
var runDir string

// finished tells an interrupt that comes after the last test from one before.
var finished atomic.Bool

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if runDir, err = os.MkdirTemp("", "rackdns-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Chmod(runDir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cleanUp := sync.OnceFunc(func() {
		sweep()
		os.RemoveAll(runDir)
	})
	// A test that fails cleans up after itself. A developer who presses Ctrl-C
	// should not have to either.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		if !finished.Load() {
			cleanUp()
			os.Exit(130)
		}
	}()
	code := m.Run()
	finished.Store(true)
	cleanUp()
	return code
}

// binary is the program under test, with the race detector if the tests have it.
var binary = sync.OnceValues(func() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return build("rackdns", program.Race)
	}
	return build("rackdns", program.Debug)
})

// staticBinary is the program under test as it is shipped.
var staticBinary = sync.OnceValues(func() (string, error) { return build("rackdns-static", program.Rackdns) })

// containerBinary is the program that the tests' containers run.
var containerBinary = sync.OnceValues(func() (string, error) { return build("container", program.Container) })

func build(name string, kind program.Kind) (string, error) {
	path := filepath.Join(runDir, name)
	return path, program.Build(kind, path)
}

// repository is the root of the source. Tests run in their package's directory.
func repository() string { return program.Repository() }

// demand skips the test for want of something, unless everything is required.
func demand(t *testing.T, have bool, format string, args ...any) {
	t.Helper()
	if have {
		return
	}
	if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
		t.Fatalf("RACKDNS_REQUIRE_DOCKER=1, but "+format, args...)
	}
	t.Skipf(format, args...)
}

// needTool asks for a program on the PATH.
func needTool(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	demand(t, err == nil, "no %s on the PATH: %v", name, err)
}

// unique makes a name that no other test uses at the same time.
func unique(name string) string {
	return name + "-" + strings.ToLower(rand.Text()[:6])
}

// slow is what is worth a line in the log of a test.
const slow = 2 * time.Second

// soon is how long a test waits for what takes a moment. It is generous, since
// only a failure takes that long.
const soon = 120 * time.Second

// completion is how long a command may take that has all of an app to start, or
// to replace one by one, and whose engine others use at the same time.
const completion = 3 * time.Minute

// eventually polls until check finds nothing wrong any more.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	within(t, soon, what, check)
}

func within(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	poll(t, limit, what, rarer, check)
}

// rarer is how long to wait for something that was waited for already: what takes
// long is asked for less often, since whoever asks takes time from what it waits for.
func rarer(begin time.Time) time.Duration {
	return min(max(time.Since(begin)/10, 10*time.Millisecond), 250*time.Millisecond)
}

// steadily is for a check that must miss nothing.
func steadily(time.Time) time.Duration { return 20 * time.Millisecond }

func poll(t *testing.T, limit time.Duration, what string, pace func(begin time.Time) time.Duration, check func() error) {
	t.Helper()
	begin, deadline := time.Now(), time.After(limit)
	for {
		err := check()
		if err == nil {
			if took := time.Since(begin); took > slow {
				t.Logf("%s: took %v", what, took.Round(time.Millisecond))
			}
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(pace(begin)):
		}
	}
}

// throughout polls for a while and fails as soon as check finds a fault.
func throughout(t *testing.T, period time.Duration, what string, check func() error) {
	t.Helper()
	end := time.After(period)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := check(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}
