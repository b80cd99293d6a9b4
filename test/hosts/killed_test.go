package hosts

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// victim has this test be the one that dies.
const victim = "RACKDNS_TEST_VICTIM"

// Nothing is left of a lab when its test was killed.
func TestKilled(t *testing.T) {
	t.Parallel()
	dockertest.Require(t)
	if os.Getenv(victim) != "" {
		l := New(t)
		lan := l.LAN(t, "lan", "192.0.2.0/24")
		h := l.Host(t, "alpha", On(lan, "192.0.2.2"))
		h.Run(t, Spec{Name: "web", TCP: []uint16{80}})
		h.Forward(t, netip.MustParseAddrPort("192.0.2.9:53"))
		fmt.Println("made", l.prefix)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	// A short name: the path of a socket has at most 107 octets.
	tmp, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"=1", "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	_, made, found := strings.Cut(string(out), "made ")
	if !found {
		t.Fatalf("no lab, %v: %s", err, out)
	}
	prefix := strings.Fields(made)[0]
	for deadline := time.Now().Add(dockertest.CallLimit); ; time.Sleep(20 * time.Millisecond) {
		left := leftOf(t, tmp, prefix)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left after the test's death: %v", left)
		}
	}
}

// leftOf lists what there is of a lab. The janitors themselves are still there
// when they are done.
func leftOf(t *testing.T, dir, prefix string) []string {
	t.Helper()
	left, err := filepath.Glob("/run/netns/" + prefix + "-*")
	if err != nil {
		t.Fatal(err)
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		b, err := os.ReadFile(path)
		args := strings.ReplaceAll(string(b), "\x00", " ")
		if err == nil && strings.Contains(args, dir) && !strings.HasPrefix(args, "sh -c ") {
			left = append(left, "process "+args)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for mount := range strings.Lines(string(mounts)) {
		if strings.Contains(mount, dir) {
			left = append(left, "mount "+strings.TrimSpace(mount))
		}
	}
	return left
}
