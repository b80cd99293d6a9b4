package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/version"
)

// Version is a version of etcd that runs as a process of its own.
type Version string

// The versions that there are, besides [Ours].
const (
	// Debian is what the distribution installs (3.4.23 in Debian 12): the etcd
	// on the PATH. It answers a request for progress ahead of events
	// (etcd#15220).
	Debian Version = "debian"
	// V35Old is the last 3.5 that does so, too.
	V35Old Version = "3.5.7"
	// V35 and V36 are the newest of their lines when this was written.
	V35 Version = "3.5.35"
	V36 Version = "3.6.16"
)

// Ours is the one that is embedded, as a process.
var Ours = Version(version.Version)

// Versions are all of them, the oldest first.
func Versions() []Version { return []Version{Debian, V35Old, V35, V36, Ours} }

// buildLimit is how long a version may take to be built; it is done once.
const buildLimit = 10 * time.Minute

// Binary returns the path of the program. It skips the test where the machine
// has none and can't build it, unless RACKDNS_REQUIRE_ETCD is 1.
func Binary(t testing.TB, v Version) string {
	t.Helper()
	path, err := v.binary()
	if err == nil {
		return path
	}
	if os.Getenv("RACKDNS_REQUIRE_ETCD") == "1" {
		t.Fatalf("RACKDNS_REQUIRE_ETCD=1, but there is no etcd %s: %v", v, err)
	}
	t.Skipf("no etcd %s: %v", v, err)
	return ""
}

func (v Version) binary() (string, error) {
	if v == Debian {
		return exec.LookPath("etcd")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "rackdns-test")
	path := filepath.Join(dir, "etcd-"+string(v))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// Other packages' tests run at the same time and may need it, too.
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	return path, v.build(dir, path)
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// Closing the file gives up the lock.
	return func() { _ = f.Close() }, nil
}

// build makes the program out of a module of its own that requires etcd's
// server. `go install` would not do: it refuses etcd's replace directives,
// which count for nothing in a module that is merely required.
func (v Version) build(dir, path string) error {
	src, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(src) }()
	for name, text := range map[string]string{
		"go.mod": "module etcd\n\ngo 1.26\n\nrequire go.etcd.io/etcd/server/v3 v" + string(v) + "\n",
		"main.go": "package main\n\nimport (\n\t\"os\"\n\n\t\"go.etcd.io/etcd/server/v3/etcdmain\"\n)\n\n" +
			"func main() { etcdmain.Main(os.Args) }\n",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", "etcd", ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("go build: %w: %s", err, lines[len(lines)-1])
	}
	return os.Rename(filepath.Join(src, "etcd"), path)
}
