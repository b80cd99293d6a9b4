package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry"
)

// rack is an etcd, a client of it, and a wire that readers use.
type rack struct {
	dir      string
	etcd     *exec.Cmd
	endpoint string
	client   *clientv3.Client
	layout   registry.Layout
	wire     *toxiproxy.Proxy
	// values are the instances as they were last written, by key.
	keys   []string
	values []*registry.Instance
}

func startRack(ctx context.Context) (_ *rack, err error) {
	r := &rack{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "rackdns-bench-"); err != nil {
		return nil, err
	}
	if r.layout, err = registry.NewLayout(registry.DefaultPrefix, rackName); err != nil {
		return nil, err
	}
	if r.endpoint, err = freeAddr(); err != nil {
		return nil, err
	}
	r.etcd = self("-role", "etcd", "-dir", filepath.Join(r.dir, "data"), "-endpoint", r.endpoint)
	r.etcd.Stderr = os.Stderr
	if err := r.etcd.Start(); err != nil {
		return nil, err
	}
	r.client, err = clientv3.New(clientv3.Config{Endpoints: []string{"http://" + r.endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err = r.client.Get(wait, "/"); err == nil || wait.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	near, err := freeAddr()
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	r.wire = toxiproxy.NewProxy(server, "reader", near, r.endpoint)
	return r, r.wire.Start()
}

func (r *rack) close() {
	if r.client != nil {
		_ = r.client.Close()
	}
	if r.wire != nil {
		r.wire.Stop()
	}
	if r.etcd != nil && r.etcd.Process != nil {
		_ = r.etcd.Process.Signal(os.Interrupt)
		_ = r.etcd.Wait()
	}
	_ = os.RemoveAll(r.dir)
}

// nodes is how many there are in the rack.
const nodes = 1000

// fill writes n instances, three for each service, and the nodes they run on.
func (r *rack) fill(ctx context.Context, n int) error {
	const batch = 100
	var ops []clientv3.Op
	for i := range nodes {
		node := nodeOf(i)
		value, err := registry.Encode(node)
		if err != nil {
			return err
		}
		if _, err := r.client.Put(ctx, r.layout.Node(node.Node), string(value)); err != nil {
			return err
		}
	}
	for i := range n {
		inst := instanceOf(i)
		r.keys = append(r.keys, r.layout.Instance(inst.Node, inst.ID))
		r.values = append(r.values, inst)
		value, err := registry.Encode(inst)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(r.keys[i], string(value)))
		if len(ops) == batch || i == n-1 {
			if _, err := r.client.Txn(ctx).Then(ops...).Commit(); err != nil {
				return err
			}
			ops = ops[:0]
		}
	}
	return nil
}

func nodeOf(n int) *registry.Node {
	return &registry.Node{
		Node: fmt.Sprintf("node-%d", n), Engine: fmt.Sprintf("ENGINE-%d", n), Addresses: []netip.Addr{hostOf(n)},
		Version: "1.0.0", Started: time.Unix(1_790_000_000, 0).UTC(),
	}
}

func hostOf(node int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(node >> 8), byte(node)}) }

// instanceOf is the n-th instance of the rack.
func instanceOf(n int) *registry.Instance {
	service, node := n/3, n%nodes
	host := hostOf(node)
	return &registry.Instance{
		ID: fmt.Sprintf("%012x", n), Node: fmt.Sprintf("node-%d", node),
		App: fmt.Sprintf("app-%d", service/20), Service: fmt.Sprintf("service-%d", service%20), Namespace: fmt.Sprintf("app-%d", service/20),
		Release: "RLEUTDHBBKD", Image: fmt.Sprintf("example/service-%d:1", service%20), Started: time.Unix(1_790_000_000, 0).UTC(),
		Status: registry.StatusRunning, Health: registry.HealthHealthy, Host: host, Weight: 1,
		Ports: []registry.Port{{
			Name: "http", Protocol: registry.TCP, Container: 3000,
			Bindings: []registry.Binding{{IP: host, Port: uint16(32768 + n%28000)}},
		}},
		Networks: []registry.Network{{
			ID: fmt.Sprintf("%012x", node), Name: "bridge", Scope: registry.ScopeLocal,
			IPv4: netip.AddrFrom4([4]byte{172, 17, byte(n / nodes >> 8), byte(2 + n/nodes)}),
		}},
		Tags: map[string]string{"az": "a"}, Observed: time.Unix(1_790_000_000, 0).UTC(),
	}
}

// readerProcess is a reader and what it has said.
type readerProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	synced report
	// reports carries all but the changes; those are in seen.
	reports chan report
	mu      sync.Mutex
	seen    []report
}

func (r *rack) startReader(ctx context.Context, address string) (*readerProcess, error) {
	p := &readerProcess{cmd: self("-role", "reader", "-endpoint", "http://"+address), reports: make(chan report, 8)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(out)
	p.synced, err = p.next(ctx, "synced")
	return p, err
}

func (p *readerProcess) listen(out io.Reader) {
	defer close(p.reports)
	for d := json.NewDecoder(out); ; {
		var r report
		if err := d.Decode(&r); err != nil {
			return
		}
		if r.Event != "seen" {
			p.reports <- r
			continue
		}
		p.mu.Lock()
		p.seen = append(p.seen, r)
		p.mu.Unlock()
	}
}

func (p *readerProcess) next(ctx context.Context, event string) (report, error) {
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case r, ok := <-p.reports:
			if !ok {
				return r, errors.New("the reader ended")
			}
			if r.Event == event {
				return r, nil
			}
		case <-timeout:
			return report{}, fmt.Errorf("the reader says nothing of %q", event)
		case <-ctx.Done():
			return report{}, ctx.Err()
		}
	}
}

func (p *readerProcess) usage(ctx context.Context) (report, error) {
	if _, err := io.WriteString(p.in, "usage\n"); err != nil {
		return report{}, err
	}
	return p.next(ctx, "usage")
}

// settle returns the usage once the reader has no more to do with its list.
func (p *readerProcess) settle(ctx context.Context) (report, error) {
	for last := -1.0; ; {
		r, err := p.usage(ctx)
		if err != nil || r.CPU-last < 0.01 {
			return r, err
		}
		last = r.CPU
		time.Sleep(500 * time.Millisecond)
	}
}

func (p *readerProcess) close() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// resync cuts the reader off, compacts what happens meanwhile away, and lets
// it find out.
func (r *rack) resync(ctx context.Context, p *readerProcess) (report, error) {
	r.wire.Stop()
	for n := range 100 {
		if _, err := r.put(ctx, n); err != nil {
			return report{}, err
		}
	}
	at, err := r.put(ctx, 0)
	if err != nil {
		return report{}, err
	}
	if _, err := r.client.Compact(ctx, at); err != nil {
		return report{}, err
	}
	if err := r.wire.Start(); err != nil {
		return report{}, err
	}
	return p.next(ctx, "synced")
}

// put changes an instance's published port and returns the revision.
func (r *rack) put(ctx context.Context, n int) (int64, error) {
	i := *r.values[n]
	port := i.Ports[0]
	port.Bindings = []registry.Binding{{IP: port.Bindings[0].IP, Port: port.Bindings[0].Port ^ 1}}
	i.Ports = []registry.Port{port}
	r.values[n] = &i
	value, err := registry.Encode(i)
	if err != nil {
		return 0, err
	}
	put, err := r.client.Put(ctx, r.keys[n], string(value))
	if err != nil {
		return 0, err
	}
	return put.Header.Revision, nil
}

// changes is how the reader bore them.
type changes struct {
	made, seen int
	rate       float64
	p50, p99   time.Duration
	cpu        float64
	rss        int64
}

// change makes changes at a rate. The time of each is taken when etcd answers,
// which is after the commit, by a clock that both processes share.
func (r *rack) change(ctx context.Context, p *readerProcess, s sizes) (changes, error) {
	before, err := p.settle(ctx)
	if err != nil {
		return changes{}, err
	}
	total := s.rate * s.seconds
	committed := make(map[int64]int64, total)
	var mu sync.Mutex
	var failed error
	const writers = 16
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			// Each has instances of its own.
			for k := w; k < total && ctx.Err() == nil; k += writers {
				time.Sleep(time.Until(start.Add(time.Duration(k) * time.Second / time.Duration(s.rate))))
				began := time.Now().UnixNano()
				revision, err := r.put(ctx, (k*7919%(len(r.keys)/writers))*writers+w)
				mu.Lock()
				if err != nil {
					failed = err
				} else {
					committed[revision] = began
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return changes{}, failed
	}
	took := time.Since(start)
	return r.account(ctx, p, committed, took, before)
}

// account waits until the reader has seen everything.
func (r *rack) account(ctx context.Context, p *readerProcess, committed map[int64]int64, took time.Duration, before report) (changes, error) {
	last := int64(0)
	for revision := range committed {
		last = max(last, revision)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		p.mu.Lock()
		n := len(p.seen)
		reached := n > 0 && p.seen[n-1].Revision >= last
		p.mu.Unlock()
		if reached || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	after, err := p.usage(ctx)
	if err != nil {
		return changes{}, err
	}
	// A report tells of the last revision of a batch; those before it in the
	// batch were seen at the same time.
	p.mu.Lock()
	defer p.mu.Unlock()
	var late []time.Duration
	for revision, at := range committed {
		n, _ := slices.BinarySearchFunc(p.seen, revision, func(s report, rev int64) int { return int(s.Revision - rev) })
		if n < len(p.seen) {
			late = append(late, time.Duration(p.seen[n].At-at))
		}
	}
	if len(late) == 0 {
		return changes{}, errors.New("the reader saw no change")
	}
	slices.Sort(late)
	return changes{
		made: len(committed), seen: len(late), rate: float64(len(committed)) / took.Seconds(),
		p50: late[len(late)/2], p99: late[len(late)*99/100],
		cpu: (after.CPU - before.CPU) / float64(len(late)), rss: after.RSS,
	}, nil
}

func self(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return exec.Command(exe, args...)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
