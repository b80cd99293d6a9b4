package dockertest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// victim has this test be the one that dies.
const victim = "RACKDNS_TEST_VICTIM"

// An engine and its containers end with the test, however that ends.
func TestEngineEnds(t *testing.T) {
	if os.Getenv(victim) != "" {
		e := New(t)
		runContainer(t, e)
		fmt.Println("made", e.dir, e.bridge)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	var dir, bridge string
	t.Run("it passes", func(t *testing.T) {
		e := New(t)
		runContainer(t, e)
		dir, bridge = e.dir, e.bridge
		if left := leftOf(t, dir, bridge); len(left) < 5 {
			t.Fatalf("an engine is only %v", left)
		}
	})
	if left := leftOf(t, dir, bridge); len(left) != 0 {
		t.Errorf("left: %v", left)
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
	if n, _ := fmt.Sscan(made, &dir, &bridge); !found || n != 2 {
		t.Fatalf("no engine, %v: %s", err, out)
	}
	for deadline := time.Now().Add(CallLimit); ; time.Sleep(20 * time.Millisecond) {
		left := leftOf(t, dir, bridge)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left after the test's death: %v", left)
		}
	}
}

// runContainer runs one until somebody ends it.
func runContainer(t *testing.T, e *Engine) {
	t.Helper()
	program := e.Path("worker")
	build := exec.Command("go", "build", "-o", program, "github.com/rackdns/rackdns/internal/agent/testdata/worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "worker", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := e.Client.ImageImport(t.Context(), image.ImportSource{Source: &files, SourceName: "-"}, "worker", image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	// Its argument is by what leftOf knows its process.
	c, err := e.Client.ContainerCreate(t.Context(), &container.Config{Image: "worker", Cmd: []string{"/worker", "wait", e.dir}}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Client.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
}

// leftOf lists what there is of an engine: processes, mounts, files and a
// bridge. The janitor itself is still there when it is done.
func leftOf(t *testing.T, dir, bridge string) (left []string) {
	t.Helper()
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
	if _, err := os.Stat(dir); err == nil {
		left = append(left, dir)
	}
	if _, err := net.InterfaceByName(bridge); err == nil {
		left = append(left, "link "+bridge)
	}
	return left
}
