// Package program builds what the tests run, once for all their packages and
// runs: to link the program under test takes longer than most tests.
package program

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Version is what the program under test says of itself.
const Version = "v0-test"

// Kind is one way to build one program.
type Kind struct {
	name, pkg string
	flags     []string
	env       []string
}

var (
	shipped = []string{"CGO_ENABLED=0", "GOOS=linux"}
	// Rackdns is the program under test as it is shipped: static, so that it
	// needs nothing of an image that it is mounted into.
	Rackdns = Kind{"rackdns", "./cmd/rackdns", []string{"-trimpath", "-ldflags", "-s -w -X main.version=" + Version}, shipped}
	// Debug is the same as tests without the race detector have it.
	Debug = Kind{"rackdns-debug", "./cmd/rackdns", []string{"-ldflags", "-X main.version=" + Version}, nil}
	// Race is the same with the race detector.
	Race = Kind{"rackdns-race", "./cmd/rackdns", []string{"-race", "-ldflags", "-X main.version=" + Version}, nil}
	// Container is what the tests' containers run.
	Container = Kind{"container", "./test/container", []string{"-trimpath", "-ldflags", "-s -w"}, shipped}
)

// Repository returns the root of the source.
func Repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Build builds a program, unless it is there and of this source, and gives it to
// the caller at to, which stays as it is when another run builds another one.
func Build(k Kind, to string) error {
	dir, unlock, err := locked(k.name)
	if err != nil {
		return err
	}
	defer unlock()
	built := filepath.Join(dir, k.name)
	cmd := exec.Command("go", append(append([]string{"build"}, k.flags...), "-o", built, k.pkg)...)
	cmd.Dir = Repository()
	cmd.Env = append(os.Environ(), k.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", k.pkg, err, out)
	}
	// A later build replaces the file, and doesn't write into it.
	if os.Link(built, to) == nil {
		return nil
	}
	return duplicate(built, to)
}

// locked returns where programs are built, when nobody else builds one of that name.
func locked(name string) (dir string, unlock func(), err error) {
	dir = filepath.Join(Repository(), "build", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return "", nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return dir, func() { lock.Close() }, nil
}

// Install returns the path of a program of the module proxy, such as
// example.com/tool@v1.0.0, which is built if it isn't there.
func Install(module string) (string, error) {
	name, version, _ := strings.Cut(path.Base(module), "@")
	dir, unlock, err := locked(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	built := filepath.Join(dir, name+"-"+version)
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	cmd := exec.Command("go", "install", "-trimpath", module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w\n%s", module, err, out)
	}
	return built, os.Rename(filepath.Join(dir, name), built)
}

// duplicate copies a program to another file system.
func duplicate(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
