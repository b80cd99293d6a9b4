package registry_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// cluster is a real etcd, in this process or in one of its own.
type cluster interface {
	Endpoints() []string
	Client() *clientv3.Client
}

// process is the etcd of the distribution, which is older than the one that is
// built in.
type process struct {
	t        *testing.T
	endpoint string
	args     []string
	cmd      *exec.Cmd
}

// startProcess starts /usr/bin/etcd with more arguments. It ends with the test.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	const etcd = "/usr/bin/etcd"
	if _, err := os.Stat(etcd); err != nil {
		t.Skipf("no etcd of the distribution's: %v", err)
	}
	p := &process{t: t, endpoint: "http://" + etcdtest.FreeAddr(t)}
	peer := "http://" + etcdtest.FreeAddr(t)
	p.args = append([]string{
		etcd, "--name", "m0", "--data-dir", t.TempDir(),
		"--listen-client-urls", p.endpoint, "--advertise-client-urls", p.endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "m0=" + peer,
		"--bcrypt-cost", "4", "--log-level", "error",
	}, args...)
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	etcdtest.Eventually(p.t, "a healthy etcd", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.endpoint+"/health", http.NoBody)
		if err != nil {
			return err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return r.Body.Close()
	})
}

func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Endpoints implements cluster.
func (p *process) Endpoints() []string { return []string{p.endpoint} }

// Client implements cluster.
func (p *process) Client() *clientv3.Client {
	p.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: p.Endpoints(), DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}
