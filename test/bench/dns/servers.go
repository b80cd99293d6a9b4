package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/test/bench/benchetcd"
)

// etcdMode is the argument with which this program runs as an etcd, so that
// its CPU time can be told apart.
const etcdMode = "etcd"

// patience is how long a server may take to come up with 300,000 instances.
const patience = 3 * time.Minute

// process is a child of ours.
type process struct{ cmd *exec.Cmd }

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) end() { _ = p.finish() }

// finish tells the process to end, and returns how it did. There may be none.
func (p *process) finish() error {
	if p == nil || p.cmd.Process == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.cmd.Wait()
}

// yield lets all others have the processors first.
func (p *process) yield() error {
	const least = 19
	return syscall.Setpriority(syscall.PRIO_PGRP, p.pid(), least)
}

func launch(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return p, p.cmd.Start()
}

// server is a rackdns with one Corefile.
type server struct {
	*process
	name, zone string
	port       int
	services   int
	kinds      []string
	// backend is the etcd that the server asks for each answer, nil if none.
	backend *process
}

// peerEtcd starts another etcd than that which we embed, and returns its address
// and what it calls itself. People have CoreDNS's etcd plugin ask theirs.
func (b *bench) peerEtcd(ctx context.Context) (addr, version string, err error) {
	ports := [2]int{}
	for n := range ports {
		if ports[n], err = freePort(); err != nil {
			return "", "", err
		}
	}
	addr, peers := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	b.peer, err = launch(b.peerBin, "--name", "bench", "--data-dir", filepath.Join(b.dir, "peer"), "--log-level", "error",
		"--listen-client-urls", "http://"+addr, "--advertise-client-urls", "http://"+addr,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "bench="+peers)
	if err != nil {
		return "", "", err
	}
	client, err := dial(addr)
	if err != nil {
		return "", "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// It may take a moment until it listens.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := client.Status(ctx, addr)
		if err == nil {
			return addr, "etcd " + status.Version, loadSkyDNS(ctx, client, b.sizes[0])
		}
		select {
		case <-ctx.Done():
			return "", "", fmt.Errorf("%s: %w", b.peerBin, err)
		case <-tick.C:
		}
	}
}

func dial(addr string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: patience, Logger: zap.NewNop()})
}

// serveEtcd is the registry, until it is told to end.
func serveEtcd(dirAndAddr string) error {
	dir, addr, _ := strings.Cut(dirAndAddr, "@")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return benchetcd.Serve(ctx, dir, addr)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("a TCP listener without a TCP address")
	}
	return a.Port, nil
}

// start starts the registry, fills it, and starts all servers.
func (b *bench) start(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if b.etcd, err = launch(self, etcdMode, b.dir+"@"+addr); err != nil {
		return err
	}
	client, err := dial(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	etcd := "etcd http://" + addr
	for _, n := range b.sizes {
		rack := rackOf(n)
		if err := load(ctx, client, rack, n); err != nil {
			return fmt.Errorf("filling the registry: %w", err)
		}
		s := &server{name: rackName(n), services: n, kinds: []string{kindA, kindSRV, kindNoData, kindNXDomain}}
		if err := b.serve(ctx, s, "myapp."+rack+".convox", rack+".convox", "rack {\n "+etcd+"\n node bench\n}"); err != nil {
			return err
		}
	}
	hosts, zone, err := b.files(b.sizes[0])
	if err != nil {
		return err
	}
	if err := loadSkyDNS(ctx, client, b.sizes[0]); err != nil {
		return err
	}
	type peer struct {
		server
		config string
	}
	peers := []peer{
		{server{name: serverWhoami, kinds: []string{kindA}}, "whoami"},
		{server{name: "hosts", kinds: []string{kindA}}, "hosts " + hosts + " {\n ttl 5\n}"},
		{server{name: "file", kinds: []string{kindA, kindSRV}}, "file " + zone},
		{server{name: serverEtcd, kinds: []string{kindA, kindSRV}, backend: b.etcd}, "etcd {\n endpoint http://" + addr + "\n}"},
	}
	if b.peerBin != "" {
		addr, version, err := b.peerEtcd(ctx)
		if err != nil {
			return err
		}
		b.peerName = serverEtcd + " over " + version
		peers = append(peers, peer{server{name: b.peerName, kinds: []string{kindA, kindSRV}, backend: b.peer}, "etcd {\n endpoint http://" + addr + "\n}"})
	}
	for _, s := range peers {
		s.services = b.sizes[0]
		if err := b.serve(ctx, &s.server, "myapp.acme.convox", "acme.convox", s.config); err != nil {
			return err
		}
	}
	return nil
}

// What the servers are called that others are compared with.
const (
	serverWhoami = "whoami"
	serverEtcd   = "etcd"
)

// rackOf is the rack that has so many services.
func rackOf(services int) string { return fmt.Sprintf("r%d", services) }

func rackName(services int) string { return fmt.Sprintf("rack, %d services", services) }

// serve starts a server and waits until it knows the last service.
func (b *bench) serve(ctx context.Context, s *server, zone, block, config string) error {
	var err error
	if s.port, err = freePort(); err != nil {
		return err
	}
	s.zone = zone
	path := filepath.Join(b.dir, "Corefile-"+strings.ReplaceAll(s.name, " ", "-"))
	text := fmt.Sprintf("%s:%d {\n bind 127.0.0.1\n %s\n}\n", block, s.port, config)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	if s.process, err = launch(b.bin, "dns", "-quiet", "-conf", path); err != nil {
		return err
	}
	b.servers = append(b.servers, s)
	m := new(dns.Msg).SetQuestion(fmt.Sprintf("%s.%s.", serviceName(s.services-1), zone), dns.TypeA)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		reply, err := dns.Exchange(m, fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil && reply.Rcode == dns.RcodeSuccess {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("server %s: does not answer", s.name)
}

// changeMode is the argument with which this program makes changes, beside
// etcd's address, a rack, its number of services, and the number of changes per
// second.
const changeMode = "change"

// change starts to make changes in a rack: instances are given other weights.
func (b *bench) change(rack string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, addr, _ := strings.Cut(b.etcd.cmd.Args[2], "@")
	p, err := launch(self, changeMode, addr, rack, strconv.Itoa(b.sizes[0]), strconv.Itoa(b.changes))
	if err != nil {
		return nil, err
	}
	return p, p.yield()
}

func makeChanges(addr, rack, services, rate string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := strconv.Atoi(services)
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	if err := keepChanging(ctx, addr, rack, n, perSecond); ctx.Err() == nil {
		return fmt.Errorf("making changes: %w", err)
	}
	return nil
}

func keepChanging(ctx context.Context, addr, rack string, services, rate int) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := registry.NewLayout(registry.DefaultPrefix, rack)
	if err != nil {
		return err
	}
	const batch = 10
	tick := time.NewTicker(time.Second * batch / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		var ops []clientv3.Op
		for k := range batch {
			is := instanceOf((n*batch+k)%services, n%3)
			is.Weight = 1 + n/(services/batch+1)%2
			value, err := registry.Encode(is)
			if err != nil {
				return err
			}
			ops = append(ops, clientv3.OpPut(l.Instance(is.Node, is.ID), string(value)))
		}
		if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
