package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
)

// data prepares backup or restore.
func (a *app) data(verb string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := command(a.t, slices.Concat([]string{verb}, args, []string{"--rack", a.rack.name, "--etcd", a.rack.etcd})...)
	cmd.Dir = a.dir
	return cmd
}

// files are what is in the app's directory.
func (a *app) files() []string {
	a.t.Helper()
	list, err := os.ReadDir(a.dir)
	if err != nil {
		a.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// A backup is whole or not there, and brings back what was written until then.
func TestBackup(t *testing.T) {
	t.Parallel()
	needTool(t, "redis-server")
	redis, err := redisServer()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	manifest := "resources:\n  cache: {type: redis, options: {image: \"" + redis + "\", password: s3cret}}\n"
	type subject struct {
		name, typ            string
		begin, write, change string
		read                 string
		do                   func(c *instance, statement string) (string, error)
	}
	subjects := []subject{{
		name: "cache", typ: "redis", write: "SET kept row", change: "SET kept other", read: "GET kept",
		do: func(c *instance, statement string) (string, error) {
			return c.execWith([]string{"REDISCLI_AUTH=s3cret"}, append([]string{"redis-cli"}, strings.Fields(statement)...)...)
		},
	}}
	for _, d := range databases {
		ref := d.need(t)
		manifest += fmt.Sprintf("  %s: {type: %[1]s, options: {image: %q, username: me, password: s3cret}}\n", d.typ, ref)
		subjects = append(subjects, subject{
			name: d.typ, typ: d.typ, begin: "CREATE TABLE kept (name VARCHAR(9) PRIMARY KEY)",
			write: "INSERT INTO kept VALUES ('row')", change: "UPDATE kept SET name = 'other'", read: "SELECT name FROM kept",
			do: func(c *instance, statement string) (string, error) {
				return d.rows(c, "me", "s3cret", "app", statement)
			},
		})
	}
	a.write("convox.yml", manifest+"services: {web: {image: "+ours+", port: 3000}}\n")
	a.run("up")
	does := func(cmd *exec.Cmd, want string) {
		t.Helper()
		out, errOut, code := completed(t, cmd)
		if code != 0 || errOut != "" || out != want {
			t.Fatalf("%v: exit code %d, %q, %q; want %q", cmd.Args[1:4], code, out, errOut, want)
		}
	}
	refused := func(cmd *exec.Cmd, want string, exit int) {
		t.Helper()
		before := a.files()
		out, errOut, code := completed(t, cmd)
		if code != exit || out != "" || !strings.Contains(errOut, want) || strings.Count(errOut, "\n") != 1 || strings.Contains(errOut, "s3cret") {
			t.Errorf("%v: exit code %d, %q, %q; want %d, %q", cmd.Args[1:4], code, out, errOut, exit, want)
		}
		if diff := cmp.Diff(before, a.files()); diff != "" {
			t.Errorf("%v: files (-before +after):\n%s", cmd.Args[1:4], diff)
		}
	}
	for n, s := range subjects {
		at := func() *instance { t.Helper(); return a.one(s.typ + "-" + s.name) }
		is := func(want string) {
			t.Helper()
			if got, err := s.do(at(), s.read); err != nil || got != want {
				t.Fatalf("%s has %q, %v; want %q", s.name, got, err, want)
			}
		}
		for _, statement := range []string{s.begin, s.write} {
			if statement == "" {
				continue
			}
			if _, err := s.do(at(), statement); err != nil {
				t.Fatal(err)
			}
		}
		is("row")
		file := s.name + ".dump"
		does(a.data("backup", a.name, s.name, file), file+"\n")
		if info, err := os.Stat(filepath.Join(a.dir, file)); err != nil || info.Mode() != 0o600 || info.Size() == 0 {
			t.Fatalf("the backup is %+v, %v", info, err)
		}
		refused(a.data("backup", a.name, s.name, file), file+": is there already", 1)
		if _, err := s.do(at(), s.change); err != nil {
			t.Fatal(err)
		}
		refused(a.data("restore", a.name, s.name, file), "would put "+file+" in the place of the data of resource "+s.name+" of app "+a.name+" in volume "+
			a.rack.name+"."+a.name+"."+s.name+", and there is nobody to ask: nothing was changed; say --yes", 2)
		is("other")

		// Another type's, one that is cut off, one that is none.
		refused(a.data("restore", a.name, subjects[(n+1)%len(subjects)].name, file, "--yes"), "is a dump of a "+s.typ+", and the resource is a ", 1)
		whole, err := os.ReadFile(filepath.Join(a.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		a.write("cut.dump", string(whole[:len(whole)*2/3]))
		refused(a.data("restore", a.name, s.name, "cut.dump", "--yes"), "", 1)
		is("other")
		a.write("cut.dump", "hello\n")
		refused(a.data("restore", a.name, s.name, "cut.dump", "--yes"), "cut.dump: is no dump of a "+s.typ+": nothing was changed", 1)

		does(a.data("restore", a.name, s.name, file, "--yes"), s.name+" has the data of "+file+"\n")
		is("row")
		if err := os.Remove(filepath.Join(a.dir, "cut.dump")); err != nil {
			t.Fatal(err)
		}

		// A dump that fails leaves nothing.
		if err := a.cli.ContainerStop(engineContext(t), at().id, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		refused(a.data("backup", a.name, s.name, "again.dump"), "resource "+s.name+": no container of it runs on this Docker Engine", 1)
		if err := a.cli.ContainerStart(engineContext(t), at().id, container.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, s.name+" has the row", func() error {
			got, err := s.do(at(), s.read)
			if err == nil && got != "row" {
				err = errors.New(got)
			}
			return err
		})
	}
	refused(a.data("backup", a.name, "nosuch"), "resource \"nosuch\": app "+a.name+" has none of that name", 1)
	refused(a.data("backup", a.name), "takes an app (or @rack), a resource and a file", 2)
}
