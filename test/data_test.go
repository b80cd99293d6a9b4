package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// database is a server, and how one talks to it: over TCP at its container's own
// address, with its user's password.
type database struct {
	typ     string
	image   func() (string, error)
	program string
	// ask returns the command and the variable for the password.
	ask func(statement, user, database string) (args []string, variable string)
	// version is a variable that says which version an image has.
	version string
}

var databases = []database{
	{
		typ: "postgres", image: postgresImage, program: "postgres", version: "PG_VERSION=9.6.1",
		ask: func(statement, user, database string) ([]string, string) {
			return []string{"sh", "-c", `exec psql -X -q -t -A -h "$(hostname -i)" "$@"`, "sh", "-U", user, "-d", database, "-c", statement}, "PGPASSWORD"
		},
	},
	{
		typ: "mariadb", image: mariadbImage, program: "mariadbd", version: "MARIADB_VERSION=10.3.1",
		ask: func(statement, user, database string) ([]string, string) {
			return []string{"sh", "-c", `exec mariadb -N -B -h "$(hostname -i)" "$@"`, "sh", "-u", user, "-D", database, "-e", statement}, "MYSQL_PWD"
		},
	},
}

// needServer skips the test where a server is missing.
func (d database) need(t *testing.T) string {
	t.Helper()
	if d.program == "postgres" {
		demand(t, postgresBin() != "", "there is no PostgreSQL server below /usr/lib/postgresql")
	} else {
		needTool(t, d.program)
	}
	ref, err := d.image()
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// execWith runs a command in the container, with more variables.
func (c *instance) execWith(env []string, args ...string) (string, error) {
	return c.exec(append([]string{"env"}, append(env, args...)...)...)
}

// rows asks a server of an app for what a statement returns.
func (d database) rows(c *instance, user, password, name, statement string) (string, error) {
	args, variable := d.ask(statement, user, name)
	return c.execWith([]string{variable + "=" + password}, args...)
}

// versioned is an image that says that its server has another version.
func versioned(t *testing.T, ref, variable string) string {
	t.Helper()
	cli := engine(t)
	made, err := cli.ContainerCreate(engineContext(t), &container.Config{Image: ref, Labels: map[string]string{label: runID}}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := cli.ContainerCommit(engineContext(t), made.ID, container.CommitOptions{Changes: []string{"ENV " + variable}})
	if err == nil {
		err = cli.ContainerRemove(engineContext(t), made.ID, container.RemoveOptions{Force: true})
	}
	name := unique("rackdns-test-versioned") + ":" + runID
	if err == nil {
		err = cli.ImageTag(engineContext(t), other.ID, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := cli.ImageRemove(engineContext(t), name, image.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return name
}

// What a database has written stays readable: whatever is changed in convox.yml
// is done in the server, or refused before anything is touched.
func TestUpKeepsData(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.typ, func(t *testing.T) {
			t.Parallel()
			ref := d.need(t)
			ours, err := testImage()
			if err != nil {
				t.Fatal(err)
			}
			a := newApp(t, startRack(t, newBridge(t)))
			a.shipped = true
			write := func(typ, image, options string) {
				t.Helper()
				a.write("convox.yml", fmt.Sprintf("resources: {db: {type: %s, options: {image: %q%s}}}\nservices: {web: {image: %s, port: 3000, resources: [db]}}\n", typ, image, options, ours))
			}
			service := d.typ + "-db"
			reads := func(user, password string) {
				t.Helper()
				if got, err := d.rows(a.one(service), user, password, "orders", "SELECT name FROM kept"); err != nil || got != "row" {
					t.Fatalf("the server has %q, %v", got, err)
				}
				want := "://" + user + ":" + password + "@db.resource." + a.name
				if got := a.one("web").environment("DB_URL"); !strings.Contains(got, want) {
					t.Errorf("web was given %q, want %s", got, want)
				}
			}
			refused := func(code int, want string) {
				t.Helper()
				ids := a.ids()
				out, errOut, got := completed(t, a.command("up"))
				if got != code || !strings.Contains(errOut, want) || strings.Count(errOut, "\n") != 1 {
					t.Fatalf("exit code %d, %q; want %d, %q\n%s", got, errOut, code, want, out)
				}
				if now := a.ids(); strings.Join(now, " ") != strings.Join(ids, " ") {
					t.Errorf("containers %v, were %v", now, ids)
				}
			}

			write(d.typ, ref, ", username: me, database: orders, password: first")
			a.run("up")
			if _, err := d.rows(a.one(service), "me", "first", "orders", "CREATE TABLE kept (name VARCHAR(9) PRIMARY KEY)"); err != nil {
				t.Fatal(err)
			}
			if _, err := d.rows(a.one(service), "me", "first", "orders", "INSERT INTO kept VALUES ('row')"); err != nil {
				t.Fatal(err)
			}
			reads("me", "first")

			// What isn't said any more stays as it was.
			write(d.typ, ref, "")
			a.run("up")
			reads("me", "first")

			// Another password is the server's, too; the one before opens nothing.
			write(d.typ, ref, ", password: 'se\"c\\''o/n@d'")
			a.run("up")
			if _, err := d.rows(a.one(service), "me", "first", "orders", "SELECT 1"); err == nil {
				t.Error("the old password still opens it")
			}
			if got, err := d.rows(a.one(service), "me", `se"c\'o/n@d`, "orders", "SELECT name FROM kept"); err != nil || got != "row" {
				t.Fatalf("the server has %q, %v", got, err)
			}

			// A container that can't take its place leaves all as it was.
			write(d.typ, ours, ", password: third")
			if out, errOut, code := completed(t, a.command("up", "--timeout", "5s")); code != 1 {
				t.Errorf("exit code %d\n%s%s", code, out, errOut)
			}
			write(d.typ, ref, "")
			a.run("up")
			if got, err := d.rows(a.one(service), "me", `se"c\'o/n@d`, "orders", "SELECT name FROM kept"); err != nil || got != "row" {
				t.Fatalf("the server has %q, %v", got, err)
			}
			write(d.typ, ref, ", password: third")
			a.run("up")
			reads("me", "third")

			write(d.typ, ref, ", username: you")
			refused(2, "convox.yml:1: resource db: option Username: can't be changed any more, since the data were made with me: ")
			write(d.typ, ref, ", database: other")
			refused(2, "resource db: option Database: can't be changed any more, since the data were made with orders: ")
			write("redis", ref, "")
			refused(1, "resource db: volume "+a.rack.name+"."+a.name+".db has the data of a resource of type "+d.typ+": ")
			write(d.typ, versioned(t, ref, d.version), "")
			refused(1, "resource db: volume "+a.rack.name+"."+a.name+".db was written by "+d.typ+" ")

			// The registry forgets the password, and the container still knows it.
			a.etcdDelete("/rackdns/secrets/" + a.rack.name + "/" + a.name + "/db")
			write(d.typ, ref, ", username: me, database: orders")
			a.run("up")
			reads("me", "third")

			a.run("down")
			// Nobody knows it any more.
			a.etcdDelete("/rackdns/secrets/" + a.rack.name + "/" + a.name + "/db")
			refused(2, "option Password: there are data, and the registry has no password for them: give it by that option")
			write(d.typ, ref, ", username: me, database: orders, password: third")
			a.run("up")
			reads("me", "third")

			// To answer at all is not enough: the health check is a login.
			statement := "SET PASSWORD = PASSWORD('elsewhere')"
			if d.typ == "postgres" {
				statement = "ALTER ROLE me PASSWORD 'elsewhere'"
			}
			if _, err := d.rows(a.one(service), "me", "third", "orders", statement); err != nil {
				t.Fatal(err)
			}
			within(t, completion, "the server is unhealthy", func() error {
				if is := a.one(service).inspect().State.Health; is == nil || is.Status != container.Unhealthy {
					return fmt.Errorf("it is %+v", is)
				}
				return nil
			})
			a.run("down", "--volumes", "--yes")
		})
	}
}

// etcdDelete removes one key of the registry.
func (a *app) etcdDelete(key string) {
	a.t.Helper()
	etcd := a.etcd()
	defer etcd.Close()
	gone, err := etcd.Delete(engineContext(a.t), key)
	if err != nil || gone.Deleted != 1 {
		a.t.Fatalf("deleted %v, %v", gone, err)
	}
}
