package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// soakServices is among how many services the containers are spread.
const soakServices = 5

// On the soak's own engine.
const (
	soakImage = "rackdns-test-container"
	soakApp   = "soak"
)

// soak starts and ends containers of one app at random.
type soak struct {
	t      *testing.T
	engine *dockertest.Engine
	cli    *client.Client
	rack   *rack
	// flooded is the container of another app whose events are the flood.
	flooded string
	// slots are the containers that nobody does anything to.
	slots chan *slot

	starts, ends, execs atomic.Int64
}

// slot is the place of one container, empty at first.
type slot struct {
	service, id string
	published   bool
}

// TestSoak starts and kills containers at random, many at once, in a flood of
// events that mean nothing. In the end the registry, DNS and `docker ps` agree
// on each one, and the server is as small as it was. It is short by default;
// RACKDNS_SOAK=5m makes it that long, with 200 containers. How much an engine
// does in that time is the engine's affair: the soak goes on until it is enough.
func TestSoak(t *testing.T) {
	t.Parallel()
	length, containers, hands := 15*time.Second, 30, 8
	if s := os.Getenv("RACKDNS_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("RACKDNS_SOAK: %v", err)
		}
		length, containers, hands = d, 200, 20
	} else if testing.Short() {
		t.Skip("takes 20 s")
	}
	engine(t)
	// One of its own: what is so beaten may have to be started again.
	private := dockertest.New(t)
	files, entrypoint, err := testFiles()
	if err == nil {
		err = importInto(private.Client, soakImage, files, entrypoint)
	}
	if err != nil {
		t.Fatal(err)
	}
	at := etcdtest.FreeAddr(t)
	s := &soak{
		t: t, engine: private, cli: private.Client, slots: make(chan *slot, containers),
		rack: startRack(t, nil, "--http", at, "--docker", private.Host(), "--host-address", private.Gateway.String()),
	}
	if s.flooded, err = s.start(t.Context(), "flooded", "web", false); err != nil {
		t.Fatal(err)
	}
	for n := range containers {
		s.slots <- &slot{service: fmt.Sprint("s", n%soakServices), published: n%3 == 0}
	}
	// As large as it gets: what is compared is the same load, before and after.
	s.trouble(length/4, hands, total{})
	eventually(t, "agreement at the start", s.agree)
	before := s.size(at)
	s.trouble(length-length/4, hands, total{starts: int64(containers), ends: int64(containers / 3), execs: 500})
	t.Logf("%d starts, %d ends, %d execs", s.starts.Load(), s.ends.Load(), s.execs.Load())
	within(t, soon, "agreement", s.agree)
	var after size
	eventually(t, "a server as small as it was", func() error {
		after = s.size(at)
		return noLarger(after, before)
	})
	t.Logf("%.0f goroutines and %.0f MB, before %.0f and %.0f MB", after.goroutines, after.memory/1e6, before.goroutines, before.memory/1e6)
}

// total is how much of each there was.
type total struct{ starts, ends, execs int64 }

// reached tells whether the soak has done as much as that.
func (s *soak) reached(least total) bool {
	return s.starts.Load() >= least.starts && s.ends.Load() >= least.ends && s.execs.Load() >= least.execs
}

// trouble makes some for a while, and at least as much as that in all.
func (s *soak) trouble(length time.Duration, hands int, least total) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range hands {
		wg.Go(func() {
			for ctx.Err() == nil {
				c := <-s.slots
				// What an engine says that is so beaten is not the question.
				if err := s.act(c); err != nil {
					s.t.Logf("container %.12s: %v", c.id, err)
				}
				s.slots <- c
			}
		})
	}
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_, err := s.cli.ContainerExecCreate(ctx, s.flooded, container.ExecOptions{Cmd: []string{"/container", "-help"}})
			if err == nil {
				s.execs.Add(1)
			}
		}
	})
	time.Sleep(length)
	for deadline := time.Now().Add(completion); !s.reached(least); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Errorf("after %v more than planned, only %d starts, %d ends, %d execs", completion, s.starts.Load(), s.ends.Load(), s.execs.Load())
			break
		}
	}
	cancel()
	wg.Wait()
}

// act does one thing to a container that nobody else does anything to.
func (s *soak) act(c *slot) error {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	if c.id == "" {
		var err error
		c.id, err = s.start(ctx, soakApp, c.service, c.published)
		return err
	}
	state, err := s.cli.ContainerInspect(ctx, c.id)
	if err != nil {
		return err
	}
	if !state.State.Running {
		s.starts.Add(1)
		return s.cli.ContainerStart(ctx, c.id, container.StartOptions{})
	}
	now := 0
	switch rand.N(6) {
	case 0:
		err = s.cli.ContainerStop(ctx, c.id, container.StopOptions{Timeout: &now})
	case 1:
		err = s.cli.ContainerRestart(ctx, c.id, container.StopOptions{Timeout: &now})
		s.starts.Add(1)
	case 2:
		err = errors.Join(s.cli.ContainerPause(ctx, c.id), s.cli.ContainerUnpause(ctx, c.id))
	case 3:
		err = s.cli.ContainerRemove(ctx, c.id, container.RemoveOptions{Force: true})
		c.id = ""
	case 4:
		return s.cli.ContainerKill(ctx, c.id, "HUP")
	default:
		err = s.cli.ContainerKill(ctx, c.id, "KILL")
	}
	s.ends.Add(1)
	return err
}

// start makes and starts a container, and returns its ID also if only the
// latter failed.
func (s *soak) start(ctx context.Context, app, service string, published bool) (id string, err error) {
	made, err := s.cli.ContainerCreate(ctx, &container.Config{
		Image: soakImage, ExposedPorts: nat.PortSet{"3000/tcp": {}},
		Labels: map[string]string{"rackdns.app": app, "rackdns.service": service},
	}, &container.HostConfig{PublishAllPorts: published}, nil, nil, "")
	if err != nil {
		return "", err
	}
	s.starts.Add(1)
	return made.ID, s.cli.ContainerStart(ctx, made.ID, container.StartOptions{})
}

// agree compares what `docker ps`, the registry and DNS say, container by
// container.
func (s *soak) agree() error {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	list, err := s.cli.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "rackdns.app="+soakApp))})
	if err != nil {
		return err
	}
	running := map[string]string{}
	for _, c := range list {
		end := netip.AddrPortFrom(netip.MustParseAddr(c.NetworkSettings.Networks["bridge"].IPAddress), 3000)
		if n := slices.IndexFunc(c.Ports, func(p container.Port) bool { return p.PublicPort != 0 }); n >= 0 {
			end = netip.AddrPortFrom(s.engine.Gateway, c.Ports[n].PublicPort)
		}
		running[c.ID[:12]] = c.Labels["rackdns.service"] + " at " + end.String()
	}
	registered, err := s.registered(ctx)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for id := range running {
		ids[id] = true
	}
	if diff := cmp.Diff(ids, registered); diff != "" {
		return fmt.Errorf("registry (-docker ps +registry):\n%s", diff)
	}
	told, err := s.told()
	if err != nil {
		return err
	}
	if diff := cmp.Diff(running, told); diff != "" {
		return fmt.Errorf("DNS (-docker ps +DNS):\n%s", diff)
	}
	return nil
}

// registered returns what the registry has of the app, and whether it serves.
func (s *soak) registered(ctx context.Context) (map[string]bool, error) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{s.rack.etcd}, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer etcd.Close()
	layout, err := registry.NewLayout(registry.DefaultPrefix, s.rack.name)
	if err != nil {
		return nil, err
	}
	read, err := etcd.Get(ctx, layout.Instances(s.rack.node), clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, kv := range read.Kvs {
		key, err := layout.Parse(string(kv.Key))
		if err != nil {
			return nil, err
		}
		i, err := registry.DecodeInstance(key, kv.Value)
		if err != nil {
			return nil, err
		}
		if i.App == soakApp {
			ids[i.ID] = i.Serving()
		}
	}
	return ids, nil
}

// told returns where DNS leads to each instance of the app.
func (s *soak) told() (map[string]string, error) {
	all := map[string]string{}
	for n := range soakServices {
		service := fmt.Sprint("s", n)
		name := s.rack.service(service, soakApp)
		m, err := ask(s.rack.dns, "tcp", name, dns.TypeSRV)
		if err != nil {
			return nil, err
		}
		ends, err := endpoints(m)
		if err != nil {
			return nil, err
		}
		for target, end := range ends {
			all[target[:12]] = service + " at " + end
		}
	}
	return all, nil
}

// size is that of the server without the goroutines that wait for the end of
// one running container each: by chance there may be more of these at one time
// than at another.
func (s *soak) size(at string) size {
	s.t.Helper()
	is := sizeOf(s.t, at)
	watched, err := metric(at, "rackdns_agent_processes_watched")
	if err != nil {
		s.t.Fatal(err)
	}
	is.goroutines -= watched
	return is
}

// noLarger checks that a process holds no more than it did. The registry's
// history is part of it and takes a while to be forgotten, and the collector is
// in no hurry.
func noLarger(is, was size) error {
	const history = 64 << 20
	if is.goroutines > was.goroutines+10 || is.memory > was.memory*1.5+history {
		return fmt.Errorf("%.0f goroutines and %.0f MB, before %.0f and %.0f MB", is.goroutines, is.memory/1e6, was.goroutines, was.memory/1e6)
	}
	return nil
}
