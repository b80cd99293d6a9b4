package index

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/rackdns/rackdns/internal/registry"
)

// What is read from disk answers as what was written, to whoever asks, and goes
// on from there.
func TestPictureIsTheRack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		for range rapid.IntRange(0, 8).Draw(t, "instances") {
			m.put(t)
		}
		p := m.x.builder.draw("/rackdns")
		p.meta.Position = registry.Position{Revision: m.revision, Cluster: 7, Term: 3, Last: registry.Entry{Key: "k", Value: []byte{0, 255}, ModRevision: m.revision}}
		p.confirmed = time.Unix(1e9, 5)
		path := filepath.Join(dir, "x"+PictureSuffix)
		f, err := p.write(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := confirm(f, time.Unix(2e9, 7)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		read, err := readPicture(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.meta, read.meta, cmpopts.EquateEmpty()); diff != "" || !read.confirmed.Equal(time.Unix(2e9, 7)) {
			t.Fatalf("confirmed at %s, -written +read:\n%s", read.confirmed, diff)
		}
		x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: m.options, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		x.builder.load(read)
		x.publish()
		if diff := cmp.Diff(answers(m.x.Snapshot()), answers(x.Snapshot())); diff != "" {
			t.Fatalf("-written +read:\n%s", diff)
		}
		a, b := m.x.Snapshot(), x.Snapshot()
		if a.Serial() != b.Serial() || a.Revision() != b.Revision() || m.x.builder.digest != x.builder.digest {
			t.Fatalf("serial %d and revision %d, read %d and %d", a.Serial(), a.Revision(), b.Serial(), b.Revision())
		}
	})
}

// A file that is damaged, cut off, or of another version is no picture, and
// nothing worse.
func TestPictureIsDamaged(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.rack(2, 3)
	path := filepath.Join(t.TempDir(), "x"+PictureSuffix)
	f, err := w.x.builder.draw("/rackdns").write(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", i.Mode(), err)
	}
	check := func(what string, b []byte, want string) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readPicture(path)
		var unusable errPicture
		if !errors.As(err, &unusable) || !strings.Contains(unusable.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	check("empty", nil, "cut off")
	check("another version", bytes.Replace(good, []byte("picture 1"), []byte("picture 2"), 1), "another version")
	check("text", bytes.Repeat([]byte("hello "), 100), "another version")
	for _, n := range []int{1, pictureHeader - 1, pictureHeader, pictureHeader + 1, len(good) / 2, len(good) - 1} {
		check(fmt.Sprint("the first ", n), good[:n], "")
	}
	check("longer", append(slices.Clone(good), 0), "damaged")
	for n := len(pictureMagic); n < len(good); n += 1 + len(good)/200 {
		b := slices.Clone(good)
		b[n] ^= 0x40
		check(fmt.Sprint("octet ", n), b, "damaged")
	}
}

// A picture that is preserved on disk is preserved by who reads it.
func TestPictureOfThePreserved(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.rack(3, 4)
	service := registry.Entry{Key: layout.Service("shop", "web"), Value: []byte(`{"app": "shop", "service": "web"}`)}
	w.update(service)
	w.h.BeginList(1, true)
	w.h.EndList()
	path := filepath.Join(t.TempDir(), "x"+PictureSuffix)
	f, err := w.x.builder.draw("/rackdns").write(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := readPicture(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newWard(t, 0)
	r.x, err = Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.h, r.revision = (*handler)(r.x), 1
	r.x.builder.loss.now = func() time.Time { return r.now }
	r.x.builder.load(p)
	r.x.publish()
	r.want(0, "(n0) (n1) (n2)")
	if a, b := w.x.Snapshot().Serial(), r.x.Snapshot().Serial(); b < a {
		t.Errorf("serial %d, was %d", b, a)
	}
	r.h.BeginList(1, false)
	r.h.EndList()
	r.update(r.node(0, "listed"))
	r.want(0, "(n1) (n2)")
	r.pass(10 * time.Minute)
	r.want(0, "")
	if k := r.x.Snapshot().Lookup("web.shop", Stranger()).Kind; k != None {
		t.Errorf("a declaration of before is of kind %d", k)
	}
}

// A disk without space for a new picture keeps the old one, and nothing else.
func TestPictureWithoutSpace(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=16k"); err != nil {
		if os.Getenv("RACKDNS_REQUIRE_DOCKER") != "" {
			t.Fatal(err)
		}
		t.Skipf("can't mount a file system: %v", err)
	}
	defer func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(disk, "x"+PictureSuffix)
	x := openBench(t)
	write := func() error {
		f, err := x.builder.draw("/rackdns").write(path)
		if f != nil {
			defer f.Close()
		}
		if (f == nil) != (err != nil) {
			t.Errorf("file %v, error %v", f, err)
		}
		return err
	}
	changesAt(t, x, 0, 1)
	if err := write(); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		changesAt(t, x, n, 2+n)
	}
	if err := write(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a picture that doesn't fit: %v", err)
	}
	if _, err := readPicture(path); err != nil {
		t.Errorf("the old one: %v", err)
	}
	if files, err := os.ReadDir(disk); err != nil || len(files) != 1 {
		t.Errorf("left are %v, %v", files, err)
	}
}
