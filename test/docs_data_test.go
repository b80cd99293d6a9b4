package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The transcript of docs/data.md, typed into one shell. What differs is the
// rack's name, where things listen, and whose images they are.
func TestDocsData(t *testing.T) {
	t.Parallel()
	needTool(t, "bash")
	postgres := databases[0].need(t)
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	b := newBridge(t)
	r := startRack(t, b)
	a := newApp(t, r)
	text, err := os.ReadFile(filepath.Join(repository(), "docs", "data.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```console\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/data.md has no transcript")
	}
	instead := strings.NewReplacer(
		"rackdns-local", "rackdns-"+r.name, "local.shop", r.name+".shop",
		"type: postgres", "type: postgres\n    options:\n      image: "+postgres, "shop/web", ours,
	)
	all := steps(string(block[1]))
	dir := filepath.Join(a.dir, "shop")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "convox.yml"), []byte(instead.Replace(strings.Join(all[0].prints, "\n"))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := newShell(t)
	sh.run("export RACKDNS_RACK=" + r.name + " RACKDNS_ETCD=" + r.etcd + " RACKDNS_DNS=" + b.gateway.String() + " PATH=" + commandDir(t) + ":$PATH; cd " + dir)
	for _, s := range all {
		got := sh.run(s.command)
		want := strings.Split(instead.Replace(strings.Join(s.prints, "\n")), "\n")
		if diff := cmp.Diff(inGeneral(want), inGeneral(got)); diff != "" {
			t.Fatalf("%s (-docs/data.md +here):\n%s", s.command, diff)
		}
	}
}
