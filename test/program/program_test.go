package program

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each of them can be built, is at its own path, and says which it is.
func TestBuild(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Rackdns, Race, Container} {
		path := filepath.Join(t.TempDir(), "program")
		if err := Build(k, path); err != nil {
			t.Fatal(err)
		}
		if k.pkg != Rackdns.pkg {
			continue
		}
		out, err := exec.Command(path, "version").Output()
		if err != nil || !strings.Contains(string(out), Version) {
			t.Errorf("%s: %q, %v; want %s", k.name, out, err, Version)
		}
	}
	if err := Build(Kind{name: "nothing", pkg: "./no/such/package"}, filepath.Join(t.TempDir(), "program")); err == nil {
		t.Error("what is not there was built")
	}
}
