package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tutorial of docs/start.md, typed into one shell, in a copy of the example
// app. What differs is the rack's name and where things listen, since others may
// follow the tutorial on the same engine, and whose Redis it is.
func TestReadmeTutorial(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "dig", "redis-server"} {
		needTool(t, tool)
	}
	redis, err := redisImage()
	if err != nil {
		t.Fatal(err)
	}
	b := newBridge(t)
	r := startRack(t, b)
	a := newApp(t, r)
	bin, app := commandDir(t), filepath.Join(a.dir, "shop")
	instead := strings.NewReplacer(
		"$PWD/bin", bin,
		"-o examples/shop/shop", "-o "+filepath.Join(app, "shop"),
		"cd examples/shop", "cd "+app,
		"-p 1053", "-p "+portOf(t, r.dns),
		"local.convox", strings.TrimSuffix(r.zone, "."),
		"RACK=local", "RACK="+r.name,
		"rackdns-local", "rackdns-"+r.name,
		"type: redis", "type: redis\n    options:\n      image: "+redis,
	)
	if err := os.Mkdir(app, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"convox.yml", "Dockerfile"} {
		text, err := os.ReadFile(filepath.Join(repository(), "examples", "shop", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(app, name), []byte(instead.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := newShell(t)
	sh.run("export RACKDNS_RACK=" + r.name + " RACKDNS_ETCD=" + r.etcd + " RACKDNS_DNS=" + b.gateway.String())
	for _, s := range steps(readme(t, "console")[1]) {
		got := sh.run(instead.Replace(s.command))
		want := strings.Split(instead.Replace(strings.Join(s.prints, "\n")), "\n")
		if diff := cmp.Diff(inGeneral(want), inGeneral(got)); diff != "" {
			t.Fatalf("%s (-docs +here):\n%s", s.command, diff)
		}
	}
	if left := a.ids(); len(left) != 0 {
		t.Errorf("containers %v are left", left)
	}
}

// commandDir returns a directory with the static binary as rackdns.
func commandDir(t *testing.T) string {
	t.Helper()
	static, err := staticBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// A link, not a copy: containers are given the file.
	if err := os.Symlink(static, filepath.Join(dir, "rackdns")); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	releases = regexp.MustCompile(`(?i)\br[a-z0-9]{10}\b`)
	ages     = regexp.MustCompile(`\b(?:\d+|Less than a|About a|About an) (?:second|minute|hour)s?(?: ago)?`)
	gaps     = regexp.MustCompile(` {2,}`)
	nodes    = regexp.MustCompile(`\bnode-\w+\b`)
)

// inGeneral returns lines without what is another each time, sorted.
func inGeneral(lines []string) []string {
	var all []string
	for _, line := range lines {
		if line == "" {
			continue
		}
		line = containerIDs.ReplaceAllString(line, "CONTAINER")
		line = somePort.ReplaceAllString(ipv4.ReplaceAllString(line, "ADDRESS"), "PORT")
		line = nodes.ReplaceAllString(ages.ReplaceAllString(releases.ReplaceAllString(line, "RELEASE"), "AGE"), "NODE")
		all = append(all, gaps.ReplaceAllString(line, "  "))
	}
	slices.Sort(all)
	return all
}
