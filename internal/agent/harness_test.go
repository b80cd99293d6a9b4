package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"go.uber.org/goleak"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
	"github.com/rackdns/rackdns/internal/registry"
)

// patience is how long a test waits for what should come at once.
const patience = 60 * time.Second

var testHost = netip.MustParseAddr("10.0.2.10")

func TestMain(m *testing.M) {
	code := m.Run()
	removeImages()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// eventually waits until check returns nothing.
func eventually(t *testing.T, what string, check func() string) {
	t.Helper()
	within(t, patience, what, check)
}

func within(t *testing.T, d time.Duration, what string, check func() string) {
	t.Helper()
	begin := time.Now()
	deadline := begin.Add(d)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %s", what, d, problem)
		}
		<-time.After(min(max(time.Since(begin)/10, 5*time.Millisecond), 100*time.Millisecond))
	}
}

// workerTar returns an image's file system: one static program.
var workerTar = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rackdns-agent-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "worker")
	cmd := exec.Command("go", "build", "-o", bin, "-ldflags", "-s -w", "./testdata/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the worker: %w: %s", err, out)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "worker", Mode: 0o755, Size: int64(len(b))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return buf.Bytes(), err
})

// rig is a Docker Engine under test.
type rig struct {
	host  string
	cli   *client.Client
	image string
	// suffix makes the names of this run unique on a shared engine.
	suffix string
}

var shared struct {
	sync.Mutex
	rig *rig
}

// docker returns the machine's own engine, or skips the test.
func docker(t *testing.T) *rig {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.rig != nil {
		return shared.rig
	}
	r, err := newRig("")
	if err != nil {
		if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
			t.Fatalf("no Docker Engine: %v", err)
		}
		t.Skipf("no Docker Engine: %v", err)
	}
	shared.rig = r
	return r
}

func newRig(host string) (*rig, error) {
	cli, err := dockerclient.Dial(host)
	if err != nil {
		return nil, err
	}
	if err := client.WithTimeout(dockertest.CallLimit)(cli); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if _, err := cli.Ping(ctx); err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	r := &rig{host: host, cli: cli, suffix: strings.ToLower(rand.Text()[:6])}
	r.image = "rackdns-agent-test:" + r.suffix
	return r, r.importImage(ctx)
}

func (r *rig) importImage(ctx context.Context) error {
	content, err := workerTar()
	if err != nil {
		return err
	}
	out, err := r.cli.ImageImport(ctx, image.ImportSource{Source: bytes.NewReader(content), SourceName: "-"}, r.image,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/worker"]`, `CMD ["wait"]`}})
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(io.Discard, out)
	return err
}

func removeImages() {
	shared.Lock()
	defer shared.Unlock()
	if r := shared.rig; r != nil {
		_, _ = r.cli.ImageRemove(context.Background(), r.image, image.RemoveOptions{Force: true})
		_ = r.cli.Close()
	}
}

// spec is a container to create.
type spec struct {
	name string
	container.Config
	host container.HostConfig
	nets map[string]*network.EndpointSettings
}

// create creates a container and sees to its end.
func (r *rig) create(t *testing.T, s spec) string {
	t.Helper()
	id, err := r.tryCreate(t.Context(), s)
	if err != nil {
		t.Fatalf("create container %s: %v", s.name, err)
	}
	t.Cleanup(func() { r.remove(t, id) })
	return id
}

func (r *rig) tryCreate(ctx context.Context, s spec) (string, error) {
	s.Image = r.image
	c, err := r.cli.ContainerCreate(ctx, &s.Config, &s.host, &network.NetworkingConfig{EndpointsConfig: s.nets}, nil, r.name(s.name))
	return c.ID, err
}

// name makes a name unique.
func (r *rig) name(s string) string { return "rackdns-" + s + "-" + r.suffix }

func (r *rig) remove(t *testing.T, id string) {
	t.Helper()
	err := r.cli.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		t.Errorf("remove container %s: %v", shortID(id), err)
	}
}

// run creates and starts a container.
func (r *rig) run(t *testing.T, s spec) string {
	t.Helper()
	id := r.create(t, s)
	r.start(t, id)
	return id
}

func (r *rig) start(t *testing.T, id string) {
	t.Helper()
	if err := r.cli.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatalf("start container %s: %v", shortID(id), err)
	}
}

func (r *rig) kill(t *testing.T, id, signal string) {
	t.Helper()
	if err := r.cli.ContainerKill(t.Context(), id, signal); err != nil {
		t.Fatalf("kill container %s with %s: %v", shortID(id), signal, err)
	}
}

// exec runs a command in a container and waits for it.
func (r *rig) exec(t *testing.T, id string, args ...string) {
	t.Helper()
	e, err := r.cli.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: args})
	if err == nil {
		err = r.cli.ContainerExecStart(t.Context(), e.ID, container.ExecStartOptions{})
	}
	if err != nil {
		t.Fatalf("exec %q: %v", args, err)
	}
}

// network creates a network and sees to its end.
func (r *rig) network(t *testing.T, name string, o network.CreateOptions) (id, fullName string) {
	t.Helper()
	fullName = r.name(name)
	n, err := r.cli.NetworkCreate(t.Context(), fullName, o)
	if err != nil {
		t.Fatalf("create network %s: %v", fullName, err)
	}
	t.Cleanup(func() {
		if err := r.cli.NetworkRemove(context.Background(), n.ID); err != nil && !cerrdefs.IsNotFound(err) {
			t.Errorf("remove network %s: %v", fullName, err)
		}
	})
	return n.ID, fullName
}

// running returns the short IDs of what `docker ps` shows.
func (r *rig) running(t *testing.T) map[string]bool {
	t.Helper()
	list, err := r.cli.ContainerList(t.Context(), container.ListOptions{})
	if err != nil {
		t.Fatalf("docker ps: %v", err)
	}
	ids := map[string]bool{}
	for _, c := range list {
		ids[shortID(c.ID)] = true
	}
	return ids
}

// write is one call of the agent to its publisher.
type write struct {
	op       string
	id       string
	at       time.Time
	instance *registry.Instance
}

// recorder is a publisher that remembers.
type recorder struct {
	mu  sync.Mutex
	now map[string]*registry.Instance
	// hidden are those that nobody is told of; for what is told, one of these
	// is as good as none.
	hidden  map[string]*registry.Instance
	node    registry.Node
	kept    map[string]bool
	writes  []write
	drained bool
}

func newRecorder() *recorder {
	return &recorder{now: map[string]*registry.Instance{}, hidden: map[string]*registry.Instance{}}
}

func (p *recorder) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (p *recorder) Replace(instances map[string]*registry.Instance, keep map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.now {
		if (instances[id] == nil || instances[id].Hidden) && !keep[id] {
			p.writes = append(p.writes, write{op: "remove", id: id, at: time.Now()})
		}
	}
	clear(p.now)
	clear(p.hidden)
	for id, i := range instances {
		if i.Hidden {
			p.hidden[id] = i
		} else {
			p.now[id] = i
		}
	}
	p.kept = keep
	p.writes = append(p.writes, write{op: "replace", at: time.Now()})
}

func (p *recorder) Set(i *registry.Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.Hidden {
		p.remove(i.ID)
		p.hidden[i.ID] = i
		return
	}
	delete(p.hidden, i.ID)
	p.now[i.ID] = i
	p.writes = append(p.writes, write{op: "set", id: i.ID, at: time.Now(), instance: i})
}

func (p *recorder) SetNode(n registry.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.node = n
}

// remove takes an instance away, if it is told.
func (p *recorder) remove(id string) {
	if p.now[id] != nil || p.kept[id] {
		delete(p.now, id)
		delete(p.kept, id)
		p.writes = append(p.writes, write{op: "remove", id: id, at: time.Now()})
	}
}

func (p *recorder) Remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hidden[id] != nil {
		delete(p.hidden, id)
		return
	}
	delete(p.now, id)
	p.writes = append(p.writes, write{op: "remove", id: id, at: time.Now()})
}

func (p *recorder) Drain(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = true
	clear(p.now)
	return nil
}

// get returns what is published under a container's ID, or nil.
func (p *recorder) get(id string) *registry.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now[shortID(id)]
}

// of returns the writes about a container so far.
func (p *recorder) of(id string) []write {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws []write
	for _, w := range p.writes {
		if w.id == shortID(id) {
			ws = append(ws, w)
		}
	}
	return ws
}

// testLog sends the log to the test's, as long as that takes it.
func testLog(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// unstarted returns an agent of the rig's engine that writes to a recorder.
func (r *rig) unstarted(t *testing.T, change func(*Config)) (*Agent, *recorder) {
	t.Helper()
	cfg := Config{DockerHost: r.host, Node: "node-1", HostAddress: testHost, Logger: testLog(t)}
	if change != nil {
		change(&cfg)
	}
	a, err := newAgent(cfg)
	if err != nil {
		t.Fatalf("new agent: %v", err)
	}
	rec := newRecorder()
	a.newPublisher = func(registry.Node) (publisher, seenSink) { return rec, nil }
	return a, rec
}

// agent starts an agent and waits until it is ready.
func (r *rig) agent(t *testing.T, change func(*Config)) (*Agent, *recorder) {
	t.Helper()
	a, rec := r.unstarted(t, change)
	startAgent(t, a)
	waitReady(t, a)
	return a, rec
}

// startAgent runs an agent until the test or what is returned ends it.
func startAgent(t *testing.T, a *Agent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func waitReady(t *testing.T, a *Agent) {
	t.Helper()
	select {
	case <-a.Ready():
	case <-time.After(patience):
		t.Fatalf("agent: not ready within %s", patience)
	}
}
