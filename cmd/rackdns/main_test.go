package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestEveryCommandHasAnExample checks that no --help leaves its reader without
// something to copy.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: example %q doesn't show it", cmd.CommandPath(), cmd.Example)
		}
		for _, c := range cmd.Commands() {
			check(c)
		}
	}
	check(rootCommand())
}

// TestInterrupted checks that whoever ends a command that waits for the registry
// is told so, by the exit code too.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"services"}, {"ps", "shop"}, {"env", "shop", "web"}, {"exec", "--app=shop", "--service=web", "--", "true"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := silent.Accept()
				cancel(signalError{syscall.SIGINT})
				if err == nil {
					_ = conn.Close()
				}
			}()
			args = append([]string{args[0], "--etcd", silent.Addr().String()}, args[1:]...)
			err = run(ctx, args, io.Discard)
			_ = silent.Close()
			<-done
			if code := exitCode(err); code != 130 || err.Error() != "ended by signal: interrupt" {
				t.Errorf("exit code %d, %v", code, err)
			}
		})
	}
}

// TestFullOutput checks that nobody takes for complete what could not be
// written.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = full.Close() })
	for _, args := range [][]string{{"--help"}, {"help", "env"}, {"version"}, {"--version"}, {"completion", "bash"}} {
		if err := run(t.Context(), args, full); !errors.Is(err, syscall.ENOSPC) || exitCode(err) != exitFailed {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var table table
	table.add("SERVICE", "DOMAIN", "PORTS")
	table.add("wéb", "", "")
	table.add("a-service", "x")
	table.add("evil\x1b[2J\n", "", "80")
	var b bytes.Buffer
	if err := table.print(&b, "  "); err != nil {
		t.Fatal(err)
	}
	want := `
  SERVICE    DOMAIN  PORTS
  wéb
  a-service  x
  evil?[2J?          80
`
	if diff := cmp.Diff(want, "\n"+b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		started time.Time
		want    string
	}{
		{time.Time{}, ""},
		{now.Add(-2 * time.Hour), "2 hours ago"},
		{now.Add(-90 * 24 * time.Hour), "3 months ago"},
		{now.Add(time.Minute), "Less than a second ago"},
	} {
		if got := age(tc.started, now); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.started, got, tc.want)
		}
	}
}
