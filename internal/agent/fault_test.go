package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/rackdns/rackdns/internal/registry"
)

// faulty is an engine that does what the real one does only at the worst of
// times: it hangs on some containers.
type faulty struct {
	engine
	mu   *sync.Mutex
	hang map[string]bool
}

func (f *faulty) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	f.mu.Lock()
	hang := f.hang[id]
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return container.InspectResponse{}, ctx.Err()
	}
	return f.engine.ContainerInspect(ctx, id)
}

func (f *faulty) set(hang bool, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.hang[id] = hang
	}
}

// breakable gives an agent an engine that can be made to hang.
func breakable(a *Agent) *faulty {
	f := &faulty{mu: &sync.Mutex{}, hang: map[string]bool{}}
	dial := a.engine.dial
	a.engine.dial = func() (engine, error) {
		e, err := dial()
		return &faulty{engine: e, mu: f.mu, hang: f.hang}, err
	}
	return f
}

func TestHangingContainersHarmNoOther(t *testing.T) {
	r := docker(t)
	a, rec := r.unstarted(t, func(c *Config) {
		c.Workers = 4
		c.RelistInterval = 300 * time.Millisecond
		c.InspectTimeout = 2 * time.Second
	})
	f := breakable(a)
	startAgent(t, a)
	waitReady(t, a)
	var hanging []string
	for n := range 6 {
		hanging = append(hanging, r.run(t, spec{name: fmt.Sprint("hanging", n)}))
	}
	for _, id := range hanging {
		waitFor(t, rec, id, "start", serving)
	}
	f.set(true, hanging...)
	for _, id := range hanging {
		if err := r.cli.ContainerPause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	// Each list has all of them looked at again, and all workers could hang.
	for n := range 5 {
		id := r.create(t, spec{name: fmt.Sprint("well", n)})
		r.start(t, id)
		within(t, 5*time.Second, "start of a container that is well", func() string {
			if serving(rec.get(id)) {
				return ""
			}
			return fmt.Sprint(rec.get(id))
		})
		r.remove(t, id)
		within(t, 5*time.Second, "removal of a container that is well", func() string {
			if rec.get(id) == nil {
				return ""
			}
			return fmt.Sprint(rec.get(id))
		})
	}
	// What is known of them stays. One that dies is gone all the same.
	for _, id := range hanging {
		if !serving(rec.get(id)) {
			t.Errorf("the last state of a hanging container is lost: %+v", rec.get(id))
		}
	}
	r.remove(t, hanging[0])
	waitFor(t, rec, hanging[0], "removal of one that hangs", gone)
	f.set(false, hanging...)
	for _, id := range hanging[1:] {
		waitFor(t, rec, id, "pause, told at last", silent)
	}
}

func TestHangingContainerAtTheStart(t *testing.T) {
	r := docker(t)
	good := r.run(t, spec{name: "good-start"})
	hanging := r.run(t, spec{name: "hanging-start"})
	a, rec := r.unstarted(t, func(c *Config) { c.InspectTimeout = 300 * time.Millisecond })
	f := breakable(a)
	f.set(true, hanging)
	startAgent(t, a)
	waitReady(t, a)
	if !serving(rec.get(good)) || rec.get(hanging) != nil || !rec.kept[shortID(hanging)] {
		t.Errorf("good: %+v, hanging: %+v, kept: %v", rec.get(good), rec.get(hanging), rec.kept)
	}
	f.set(false, hanging)
	waitFor(t, rec, hanging, "answer at last", serving)
}

// panicking finds a mistake in the agent.
type panicking struct {
	engine
	mu *sync.Mutex
	id *string
}

func (p *panicking) ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id == *p.id {
		panic("a container nobody thought of")
	}
	return p.engine.ContainerInspect(ctx, id)
}

func TestOddContainerKillsNobody(t *testing.T) {
	r := docker(t)
	odd := r.create(t, spec{name: "odd"})
	a, rec := r.unstarted(t, nil)
	dial := a.engine.dial
	mu := &sync.Mutex{}
	a.engine.dial = func() (engine, error) {
		e, err := dial()
		return &panicking{e, mu, &odd}, err
	}
	startAgent(t, a)
	waitReady(t, a)
	r.start(t, odd)
	good := r.run(t, spec{name: "even"})
	waitFor(t, rec, good, "start beside it", serving)
	r.remove(t, odd)
}

// proxy stands between an agent and an engine and can be cut.
type proxy struct {
	path   string
	t      *testing.T
	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	served sync.WaitGroup
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{path: filepath.Join(t.TempDir(), "d.sock"), t: t, conns: map[net.Conn]bool{}}
	t.Cleanup(p.cut)
	return p
}

// open lets connections through to the machine's engine.
func (p *proxy) open() {
	p.t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(p.t.Context(), "unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.ln = ln
	p.mu.Unlock()
	p.served.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", "/var/run/docker.sock")
			if err != nil {
				in.Close()
				continue
			}
			if !p.keep(ln, in, out) {
				return
			}
			p.served.Go(func() { _, _ = io.Copy(in, out); in.Close() })
			p.served.Go(func() { _, _ = io.Copy(out, in); out.Close() })
		}
	})
}

// keep remembers the two ends of a connection for cut, unless it was accepted
// at the very moment of one.
func (p *proxy) keep(ln net.Listener, in, out net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != ln {
		in.Close()
		out.Close()
		return false
	}
	p.conns[in], p.conns[out] = true, true
	return true
}

// cut ends all connections and takes the socket away.
func (p *proxy) cut() {
	p.mu.Lock()
	if p.ln != nil {
		p.ln.Close()
		p.ln = nil
	}
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
	p.mu.Unlock()
	p.served.Wait()
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), s)
}

func TestEngineComesAndGoes(t *testing.T) {
	r := docker(t)
	p := newProxy(t)
	log := &buffer{}
	stays := r.run(t, spec{name: "stays"})
	dies := r.run(t, spec{name: "dies"})
	a, rec := r.unstarted(t, func(c *Config) {
		c.DockerHost = "unix://" + p.path
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	stop := startAgent(t, a)
	eventually(t, "a word about the missing engine", func() string {
		if log.count("can't reach the Docker Engine") > 0 {
			return ""
		}
		return "none"
	})
	wait(t.Context(), 500*time.Millisecond)
	p.open()
	waitReady(t, a)
	for round := range 3 {
		p.cut()
		eventually(t, "a word about the lost engine", func() string {
			if log.count("lost the Docker Engine") == round+1 {
				return ""
			}
			return fmt.Sprint(log.count("lost the Docker Engine"))
		})
		if !serving(rec.get(stays)) {
			t.Errorf("a lost engine took a name: %+v", rec.get(stays))
		}
		if round == 0 {
			r.remove(t, dies)
		}
		late := r.run(t, spec{name: fmt.Sprint("late", round)})
		p.open()
		within(t, patience, "what happened meanwhile", func() string {
			if serving(rec.get(late)) && rec.get(dies) == nil {
				return ""
			}
			return fmt.Sprintf("late: %+v, dead: %+v", rec.get(late), rec.get(dies))
		})
		eventually(t, "a word about the engine that is back", func() string {
			if log.count("the Docker Engine is back") == round+1 {
				return ""
			}
			return "none"
		})
	}
	wantStory(t, rec, stays, "serving")
	stop()
	for line, most := range map[string]int{"can't reach the Docker Engine": 1, "lost the Docker Engine": 3, "level=ERROR": 0} {
		if n := log.count(line); n > most {
			t.Errorf("%q is logged %d times:\n%s", line, n, log.b.String())
		}
	}
}

func TestAgentEndsWhileTheEngineIsAway(t *testing.T) {
	docker(t)
	a, err := newAgent(Config{DockerHost: "unix://" + newProxy(t).path, Node: "n", HostAddress: testHost, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	stop := startAgent(t, a)
	wait(t.Context(), 200*time.Millisecond)
	stop()
}

// taken is a publisher whose node's name belongs to somebody else.
type taken struct{ *recorder }

func (taken) Run(context.Context) error {
	return &registry.TakenError{Node: "node-1", Engine: "a", Other: "b"}
}

func TestNameTaken(t *testing.T) {
	r := docker(t)
	a, rec := r.unstarted(t, nil)
	a.newPublisher = func(registry.Node) (publisher, seenSink) { return taken{rec}, nil }
	var want *registry.TakenError
	if err := a.Run(t.Context()); !errors.As(err, &want) {
		t.Errorf("Run = %v, want that the name is taken", err)
	}
}

// quiet is an engine whose events are all lost.
type quiet struct{ engine }

func (quiet) Events(ctx context.Context, _ events.ListOptions) (<-chan events.Message, <-chan error) {
	errs := make(chan error, 1)
	context.AfterFunc(ctx, func() { errs <- ctx.Err(); close(errs) })
	return make(chan events.Message), errs
}

// Events are hints only: without any, a list finds everything.
func TestAllEventsLost(t *testing.T) {
	r := docker(t)
	a, rec := r.unstarted(t, func(c *Config) { c.RelistInterval = 200 * time.Millisecond })
	dial := a.engine.dial
	a.engine.dial = func() (engine, error) {
		e, err := dial()
		return quiet{e}, err
	}
	startAgent(t, a)
	waitReady(t, a)
	id := r.run(t, spec{name: "unheard"})
	waitFor(t, rec, id, "start", serving)
	if err := r.cli.ContainerPause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "pause", silent)
	if err := r.cli.ContainerUnpause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rec, id, "unpause", serving)
	r.remove(t, id)
	waitFor(t, rec, id, "removal", gone)
}

// No pause grows long, and none is the last.
func TestRetryNeverGivesUp(t *testing.T) {
	retry := newRetry()
	for n := range 10000 {
		if d := retry.NextBackOff(); d <= 0 || d > 2*time.Second {
			t.Fatalf("pause %d is %s", n, d)
		}
	}
	for n := range 100 {
		if d := retryAfter(n + 1); d <= 0 || d > 10*time.Second {
			t.Fatalf("pause %d of a container is %s", n, d)
		}
	}
}
