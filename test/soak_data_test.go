package test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// How many steps the soak of data takes, shortly and with RACKDNS_SOAK.
const (
	fewDataSteps  = 8
	manyDataSteps = 200
)

// dataSoak is an app with a database, and the rows that it must have.
type dataSoak struct {
	*app
	d         database
	ref, ours string
	password  string
	colour    int
	// up says that it runs, there that anything is left of it.
	up, there bool
	rows      []string
	// saved are the rows of the backup in file.
	saved []string
	file  string
	next  int
}

// TestSoakData does at random what people do to apps with databases: up, down,
// edits that are done and edits that are refused, kills, copies by docker commit,
// interrupts, backups. No row that a server has taken is ever lost, but by
// down --volumes --yes and by restore --yes. RACKDNS_SEED repeats a run.
func TestSoakData(t *testing.T) {
	t.Parallel()
	steps := fewDataSteps
	if os.Getenv("RACKDNS_SOAK") != "" {
		steps = manyDataSteps
	} else if testing.Short() {
		t.Skip("takes a minute")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RACKDNS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("RACKDNS_SEED: %v", err)
		}
	}
	t.Logf("RACKDNS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	r := startRack(t, newBridge(t))
	var apps []*dataSoak
	for _, d := range databases {
		s := &dataSoak{app: newApp(t, r), d: d, ref: d.need(t), ours: ours}
		s.shipped = true
		apps = append(apps, s)
	}
	for n := range steps {
		s := apps[random.IntN(len(apps))]
		all := s.steps()
		step := all[random.IntN(len(all))]
		t.Logf("step %d: %s %s", n+1, s.d.typ, step.what)
		step.do()
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, s := range apps {
		s.bringUp()
	}
}

// dataStep is something that is done to an app.
type dataStep struct {
	what string
	do   func()
}

func (s *dataSoak) steps() []dataStep {
	return []dataStep{
		{"up", s.bringUp}, {"up", s.bringUp}, {"insert", s.insert}, {"insert", s.insert}, {"insert", s.insert},
		{"down", s.bringDown},
		{"edit its environment", func() { s.colour++; s.bringUp() }},
		{"edit its password", func() { s.password = "pw" + strconv.Itoa(s.next); s.next++; s.bringUp() }},
		{"edit away its password", func() { s.password = ""; s.bringUp() }},
		{"edit its user", func() { s.refused(s.d.typ, ", username: other") }},
		{"edit its type", func() { s.refused("redis", "") }},
		{"edit its image to one that ends", s.breaks},
		{"kill its server", s.kill},
		{"kill up", s.interrupt},
		{"commit its server", s.commitServer},
		{"up in another directory", s.elsewhere},
		{"down --volumes, and say nothing", s.asked},
		{"down --volumes --yes", s.wipe},
		{"back up", s.backup},
		{"restore", s.restore},
	}
}

// manifest writes the app's manifest, with options of its database.
func (s *dataSoak) manifest(typ, options string) {
	if s.password != "" && typ == s.d.typ {
		options += ", password: " + s.password
	}
	s.write("convox.yml", fmt.Sprintf("resources: {db: {type: %s, options: {image: %q%s}}}\nservices: {web: {image: %s, port: 3000, environment: [COLOUR=%d], resources: [db]}}\n",
		typ, s.ref, options, s.ours, s.colour))
}

// bringUp brings the app up and looks for its rows.
func (s *dataSoak) bringUp() {
	s.t.Helper()
	s.manifest(s.d.typ, "")
	out, errOut, code := completed(s.t, s.command("up"))
	if code != 0 {
		s.t.Fatalf("up: exit code %d\n%s%s", code, out, errOut)
	}
	s.up, s.there = true, true
	if _, err := s.query("CREATE TABLE IF NOT EXISTS kept (name VARCHAR(20) PRIMARY KEY)"); err != nil {
		s.t.Fatal(err)
	}
	s.check()
}

// check demands that the server has each row.
func (s *dataSoak) check() {
	s.t.Helper()
	out, err := s.query("SELECT name FROM kept ORDER BY name")
	if err != nil {
		s.t.Fatal(err)
	}
	has := strings.Fields(out)
	for _, row := range s.rows {
		if !slices.Contains(has, row) {
			s.t.Fatalf("row %s is lost; there are %v, want %v", row, has, s.rows)
		}
	}
}

// query asks the server with what the registry says of it.
func (s *dataSoak) query(statement string) (string, error) {
	s.t.Helper()
	etcd := s.etcd()
	defer etcd.Close()
	read, err := etcd.Get(engineContext(s.t), "/rackdns/secrets/"+s.rack.name+"/"+s.name+"/db", clientv3.WithLimit(1))
	if err != nil || len(read.Kvs) != 1 {
		s.t.Fatalf("%v, %v", read, err)
	}
	u, err := url.Parse(string(read.Kvs[0].Value))
	if err != nil {
		s.t.Fatal(err)
	}
	password, _ := u.User.Password()
	return s.d.rows(s.one(s.d.typ+"-db"), u.User.Username(), password, strings.TrimPrefix(u.Path, "/"), statement)
}

func (s *dataSoak) insert() {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	s.next++
	row := fmt.Sprintf("row%d", s.next)
	if _, err := s.query("INSERT INTO kept VALUES ('" + row + "')"); err != nil {
		s.t.Fatal(err)
	}
	s.rows = append(s.rows, row)
}

func (s *dataSoak) bringDown() {
	s.t.Helper()
	if !s.there {
		return // down says that there is no such app, which is another test's
	}
	s.run("down")
	s.up = false
}

// refused edits the manifest to something that must change nothing.
func (s *dataSoak) refused(typ, options string) {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	s.manifest(typ, options)
	out, errOut, code := completed(s.t, s.command("up"))
	if code == 0 {
		s.t.Fatalf("up did it\n%s%s", out, errOut)
	}
	s.check()
}

// breaks has the database's image be one that is none.
func (s *dataSoak) breaks() {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	ref := s.ref
	s.ref = s.ours
	s.manifest(s.d.typ, "")
	s.ref = ref
	out, errOut, code := completed(s.t, s.command("up", "--timeout", "3s"))
	if code != 1 {
		s.t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	s.bringUp()
}

// kill ends the server without a chance to write anything.
func (s *dataSoak) kill() {
	s.t.Helper()
	if !s.up {
		return
	}
	s.one(s.d.typ + "-db").kill()
	s.bringUp()
}

// interrupt ends an up without a chance to undo anything.
func (s *dataSoak) interrupt() {
	s.t.Helper()
	s.colour++
	s.password = "pw" + strconv.Itoa(s.next)
	s.next++
	s.manifest(s.d.typ, "")
	p := launchCommand(s.t, s.command("up"))
	moment := time.Duration(s.next*137%3000) * time.Millisecond
	select {
	case <-p.exited:
	case <-time.After(moment):
	}
	p.crash()
	s.bringUp()
}

// commitServer makes an image of the server and runs it.
func (s *dataSoak) commitServer() {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	c := s.runImage(s.one(s.d.typ+"-db").commit(), nil)
	s.bringUp()
	if err := s.cli.ContainerRemove(engineContext(s.t), c.id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		s.t.Error(err)
	}
	s.check()
}

// elsewhere runs down in another directory of that name.
func (s *dataSoak) elsewhere() {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	dir := filepath.Join(s.t.TempDir(), s.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if out, errOut, code := completed(s.t, s.from(dir, "down", "--volumes", "--yes")); code != 1 {
		s.t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	s.check()
}

func (s *dataSoak) asked() {
	s.t.Helper()
	if !s.up {
		return
	}
	if out, errOut, code := completed(s.t, s.command("down", "--volumes")); code != 2 {
		s.t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	s.check()
}

func (s *dataSoak) wipe() {
	s.t.Helper()
	if !s.there {
		return
	}
	s.run("down", "--volumes", "--yes")
	s.up, s.there, s.rows, s.password = false, false, nil, ""
}

func (s *dataSoak) backup() {
	s.t.Helper()
	if !s.up {
		s.bringUp()
	}
	s.next++
	s.file = fmt.Sprintf("%d.dump", s.next)
	if out, errOut, code := completed(s.t, s.data("backup", s.name, "db", s.file)); code != 0 {
		s.t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	s.saved = slices.Clone(s.rows)
}

func (s *dataSoak) restore() {
	s.t.Helper()
	if s.file == "" {
		s.backup()
	}
	if !s.up {
		s.bringUp()
	}
	if out, errOut, code := completed(s.t, s.data("restore", s.name, "db", s.file, "--yes")); code != 0 {
		s.t.Fatalf("exit code %d\n%s%s", code, out, errOut)
	}
	s.rows = slices.Clone(s.saved)
	s.check()
}
