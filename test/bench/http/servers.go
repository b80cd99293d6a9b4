package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/test/bench/benchetcd"
)

// The modes in which this program runs as an etcd, and as who changes its keys.
const (
	etcdMode   = "etcd"
	changeMode = "change"
)

const rackName = "bench"

// patience is how long a server may take to come up.
const patience = time.Minute

func serveEtcd(dirAndAddr string) error {
	dir, addr, _ := strings.Cut(dirAndAddr, "@")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return benchetcd.Serve(ctx, dir, addr)
}

// host is a registered host.
func host(app, service string, n int) registry.Instance {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 7, byte(n >> 8), byte(n)}), 8080)
	i := registry.HostInstance(app, service, at)
	i.Weight, i.Release, i.Tags = 1, "abc", map[string]string{"az": "a", "region": "r", "instance_id": fmt.Sprint(n)}
	return i
}

// makeChanges changes hosts of other services until it is told to end.
func makeChanges(addr, perSecond string) error {
	rate, err := strconv.Atoi(perSecond)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := registry.Open(registry.Config{Endpoints: []string{"http://" + addr}, Rack: rackName})
	if err != nil {
		return err
	}
	defer c.Close()
	const hosts = 50
	for n := range hosts {
		if err := c.Register(ctx, host("other", "db", n), time.Hour); err != nil {
			return err
		}
	}
	const workers = 8
	failed := make(chan error, workers)
	for w := range workers {
		go func() {
			every := time.Second * workers / time.Duration(rate)
			for n := w; ; n += workers {
				begin := time.Now()
				i := host("other", "db", n%hosts)
				err := c.SetHostWeight(ctx, "other", "db", netip.AddrPortFrom(i.Host, 8080), 1+n%100)
				if err != nil {
					failed <- err
					return
				}
				time.Sleep(every - time.Since(begin))
			}
		}()
	}
	err = <-failed
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// process is a child of ours.
type process struct{ cmd *exec.Cmd }

func launch(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.cmd.Start()
}

// end ends the process. There may be none.
func (p *process) end() {
	if p == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpu is the CPU time in seconds that the process and its children have taken.
func (p *process) cpu() (float64, error) {
	sum := 0.0
	for _, pid := range append([]int{p.cmd.Process.Pid}, childrenOf(p.cmd.Process.Pid)...) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name, in parentheses, can have spaces.
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
		const user, system, hertz = 11, 12, 100
		for _, at := range []int{user, system} {
			n, err := strconv.ParseFloat(f[at], 64)
			if err != nil {
				return 0, err
			}
			sum += n / hertz
		}
	}
	return sum, nil
}

func childrenOf(pid int) (all []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil
	}
	for word := range strings.FieldsSeq(string(text)) {
		if n, err := strconv.Atoi(word); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// rss is the memory in octets that the process has.
func (p *process) rss() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", p.cmd.Process.Pid)
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// await returns what a server that is coming up answers.
func await(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		body, err := get(ctx, http.DefaultClient, url)
		if err == nil {
			return body, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startNginx serves a file at the target.
func (b *bench) startNginx(body []byte) (*process, error) {
	root := filepath.Join(b.dir, "www")
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(target)), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(root, target), body, 0o644); err != nil {
		return nil, err
	}
	for _, dir := range []string{b.dir, root} {
		// Its workers are others than root.
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(b.dir, "nginx.conf")
	text := fmt.Sprintf(`worker_processes auto;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    default_type application/json;
    client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
    server { listen %[2]s; root %[3]s; }
}
`, b.dir, b.nginxAddr, root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return launch("nginx", "-c", config, "-e", "stderr")
}

// wrk returns requests per second, and how many there were.
func wrk(ctx context.Context, url string, length time.Duration) (qps, requests float64, err error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t", "1", "-c", "16", "-d", fmt.Sprintf("%ds", max(int(length/time.Second), 1)), url).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if strings.Contains(string(out), "Non-2xx") {
		return 0, 0, fmt.Errorf("wrk: %s", out)
	}
	for line := range strings.Lines(string(out)) {
		if value, ok := strings.CutPrefix(line, "Requests/sec:"); ok {
			if qps, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
				return 0, 0, err
			}
		}
		if at := strings.Index(line, " requests in "); at > 0 {
			if requests, err = strconv.ParseFloat(strings.TrimSpace(line[:at]), 64); err != nil {
				return 0, 0, err
			}
		}
	}
	if qps == 0 || requests == 0 {
		return 0, 0, fmt.Errorf("wrk says nothing: %s", out)
	}
	return qps, requests, nil
}
