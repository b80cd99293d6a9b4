package index_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func openAt(t *testing.T, endpoints []string, state string) *index.Index {
	t.Helper()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: "acme", Endpoints: endpoints}, State: state, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Start()
	return x
}

func telling(x *index.Index, want int) error {
	s := x.Snapshot()
	if s == nil {
		return fmt.Errorf("nothing is known")
	}
	if got := len(s.Lookup("web.shop", index.Stranger()).Endpoints); got != want {
		return fmt.Errorf("%d endpoints, want %d", got, want)
	}
	return nil
}

// An index that starts without its registry knows what the one before it did,
// and how old that is; with it, it goes on from there.
func TestStateOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	put := func(id string) {
		t.Helper()
		value := fmt.Sprintf(`{"id":%q,"node":"n1","app":"shop","service":"web","status":"running","host":"10.0.0.1","ports":[{"protocol":"tcp","container":80,"bindings":[{"ip":"10.0.0.1","port":8080}]}]}`, id)
		if _, err := client.Put(t.Context(), "/rackdns/v1/acme/instances/n1/"+id, value); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	put("b")
	state := filepath.Join(t.TempDir(), "state")
	x := openAt(t, etcd.Endpoints(), state)
	etcdtest.Eventually(t, "two", func() error { return telling(x, 2) })
	serial := x.Snapshot().Serial()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	etcd.Kill()
	begin := time.Now()
	x = openAt(t, etcd.Endpoints(), state)
	if err := telling(x, 2); err != nil {
		t.Fatalf("without etcd: %v", err)
	}
	if age := x.Age(); age <= 0 || age > time.Since(begin)+time.Minute {
		t.Errorf("the picture is %s old", age)
	}
	if x.Snapshot().Serial() != serial {
		t.Errorf("serial %d, was %d", x.Snapshot().Serial(), serial)
	}
	etcd.Start()
	client = etcd.Client()
	put("c")
	etcdtest.Eventually(t, "three", func() error { return telling(x, 3) })
	if got := x.Snapshot().Serial(); got <= serial {
		t.Errorf("serial %d after a change, was %d", got, serial)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	// Only who owns it reads it, and nothing else is left.
	files, err := os.ReadDir(state)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if i, err := os.Stat(state); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", i.Mode(), err)
	}
	// Damaged, it is no picture, and no reason to fail.
	if err := os.WriteFile(filepath.Join(state, files[0].Name()), []byte("rackdns picture 1\nnot"), 0o600); err != nil {
		t.Fatal(err)
	}
	x = openAt(t, etcd.Endpoints(), state)
	defer x.Close()
	etcdtest.Eventually(t, "three, by the registry", func() error { return telling(x, 3) })
}

// A registry that was wiped while nobody looked is told from the one of before:
// what the picture has is preserved.
func TestStateMeetsAnotherHistory(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	value := `{"id":"a","node":"n1","app":"shop","service":"web","status":"running","host":"10.0.0.1","ports":[{"protocol":"tcp","container":80,"bindings":[{"ip":"10.0.0.1","port":8080}]}]}`
	if _, err := etcd.Client().Put(t.Context(), "/rackdns/v1/acme/instances/n1/a", value); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	x := openAt(t, etcd.Endpoints(), state)
	etcdtest.Eventually(t, "one", func() error { return telling(x, 1) })
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	etcd.Kill()
	if err := os.RemoveAll(etcd.Members[0].Dir); err != nil {
		t.Fatal(err)
	}
	etcd.Start()
	x = openAt(t, etcd.Endpoints(), state)
	defer x.Close()
	etcdtest.Eventually(t, "preservation", func() error {
		if err := telling(x, 1); err != nil {
			t.Fatal(err)
		}
		if x.Snapshot().Lookup("web.shop", index.Stranger()).Endpoints[0].Preserved().IsZero() {
			return fmt.Errorf("it is taken for registered")
		}
		return nil
	})
}

// A directory that can't be written is a line in the log, and no reason to fail.
func TestStateCannotBeWritten(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	x := openAt(t, etcd.Endpoints(), filepath.Join(file, "state"))
	<-x.Synced()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
