package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func TestKillOf(t *testing.T) {
	const root = "runc --root /run/docker/runtime-runc/moby --log /run/log.json --log-format json "
	tests := []struct {
		name, line, id, signal string
	}{
		{"as containerd does", root + "kill " + testID + " 9", testID, "9"},
		{"all processes", root + "kill --all " + testID + " 15", testID, "15"},
		{"with systemd", "runc --systemd-cgroup kill " + testID + " SIGTERM", testID, "SIGTERM"},
		{"the standard's default", "crun kill " + testID, testID, "SIGTERM"},
		{"a script's", "/bin/sh /opt/runtime --root /run kill " + testID + " 9", testID, "9"},

		{"another command", root + "exec --process /tmp/p " + testID, "", ""},
		{"a program called so", "kill " + testID + " 9", "", ""},
		{"a command that mentions it", root + "exec " + testID + " kill 1", "", ""},
		{"short ID", root + "kill 3485248b1d18 9", "", ""},
		{"no container", root + "kill", "", ""},
		{"too much", root + "kill " + testID + " 9 10", "", ""},
		{"nothing", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, signal, ok := killOf(strings.Fields(tt.line))
			if want := tt.id != ""; ok != want || ok && (id != tt.id || signal != tt.signal) {
				t.Errorf("%s: %q, %q, %t, want %q, %q, %t", tt.line, id, signal, ok, tt.id, tt.signal, want)
			}
		})
	}
}

func TestRuns(t *testing.T) {
	names := map[string]bool{"runc": true}
	for line, want := range map[string]bool{
		"runc kill x":                  true,
		"/usr/bin/runc kill x":         true,
		"/bin/sh /usr/bin/runc kill x": true,
		"containerd-shim-runc-v2 -id":  false,
		"vi a runc":                    false,
		"":                             false,
	} {
		if got := runs(strings.Fields(line), names); got != want {
			t.Errorf("%q: %t, want %t", line, got, want)
		}
	}
}

func TestRuntimePaths(t *testing.T) {
	for path, want := range map[string]string{"/bin/sh": "/bin/sh", "sh": "/bin/sh", "/bin": "", "no-such-runtime": "", "": ""} {
		got := strings.Join(runtimePaths(path), " ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestForetoldSignals(t *testing.T) {
	tests := []struct {
		signal string
		stop   int
		want   string
	}{
		{"9", 15, "draining"},
		{"15", 15, "draining"},
		{"SIGTERM", 15, "draining"},
		{"1", 1, "draining"},
		{"1", 15, "serving"},
		{"15", 1, "serving"},
		{"nonsense", 15, "serving"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s to one that stops by %d", tt.signal, tt.stop), func(t *testing.T) {
			b := newBench(t)
			b.on("start", -60)
			b.look()(plain(func(f *facts) { f.started, f.stopSignal = at(-60), tt.stop }), nil)
			var before, after dto.Metric
			_ = foretoldKills.Write(&before)
			b.foretold(testID, tt.signal, at(0))
			b.want(tt.want)
			_ = foretoldKills.Write(&after)
			// Others may count meanwhile.
			if counted := after.GetCounter().GetValue() > before.GetCounter().GetValue(); tt.want == "draining" && !counted {
				t.Error("it isn't counted")
			}
		})
	}
}

func TestForetoldKill(t *testing.T) {
	b := newBench(t)
	b.on("start", -60)
	b.look()(started(-60), nil)
	// Another engine's.
	b.foretold(strings.Repeat("0", idDigits), "9", at(-1))
	b.want("serving")

	b.foretold(testID, "9", at(0))
	b.want("draining")
	if got := b.rec.get(testID).Observed; !got.Equal(at(0)) {
		t.Errorf("observed at %s, want when it was foretold: %s", got, at(0))
	}
	// An inspect meanwhile says that it runs, and the engine's event is no news.
	b.look()(started(-60), nil)
	b.on("kill", 0.1, "signal", "9")
	b.want("draining")
	if n := len(b.rec.of(testID)); n != 2 {
		t.Errorf("%d writes, want one of the start and one of the kill", n)
	}
	b.on("die", 1)
	b.want("gone")
}

// A runtime that fails kills nobody, and the engine tells of no kill.
func TestForetoldKillThatDoesNotCome(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.grace = 50 * time.Millisecond
	brief := func() *facts {
		return plain(func(f *facts) { f.started, f.stopTimeout = at(-60), 50*time.Millisecond })
	}
	b.on("start", -60)
	b.look()(brief(), nil)
	id, _ := b.queue.get(t.Context())
	b.queue.done(id, false)
	b.foretold(testID, "9", time.Now())
	b.want("draining")
	eventually(t, "another look", func() string {
		if !b.waiting() {
			return "it isn't to be looked at again"
		}
		return ""
	})
	b.look()(brief(), nil)
	b.want("serving")
}

func TestForetoldKillOfAnotherRun(t *testing.T) {
	b := newBench(t)
	b.on("start", -60)
	b.look()(started(-60), nil)
	b.foretold(testID, "15", at(-1))
	b.want("draining")
	b.listed([]string{testID}, at(0))
	b.look()(started(-0.5), nil)
	b.want("serving")
}
