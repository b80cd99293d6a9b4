package test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestSignals sends each command that runs until it is told to end every signal
// that somebody might send: it goes on, but for those that end it.
func TestSignals(t *testing.T) {
	t.Parallel()
	harmless := []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGHUP}
	// Each starts its command and returns it with what shows that it serves, and
	// that it has taken in the signals before.
	commands := map[string]func(t *testing.T) (*process, func() error){
		"standalone": func(t *testing.T) (*process, func() error) {
			t.Helper()
			r := startRack(t, nil, "--docker", "off")
			return r.process, func() error { return serves(r.dns, r.zone) }
		},
		"agent": func(t *testing.T) (*process, func() error) {
			t.Helper()
			at := etcdtest.FreeAddr(t)
			p := launch(t, "agent", "--rack", "x", "--etcd", "http://"+etcdtest.FreeAddr(t), "--host-address", "10.0.2.10", "--metrics", at, "--docker", "unix:///nowhere/docker.sock")
			return p, func() error { _, err := get("http://" + at + "/healthz"); return err }
		},
		"dns": func(t *testing.T) (*process, func() error) {
			t.Helper()
			at := etcdtest.FreeAddr(t)
			host, port, _ := strings.Cut(at, ":")
			p := launch(t, "dns", "-conf", corefile(t, ".:"+port+" {\n  bind "+host+"\n  whoami\n}\n"))
			return p, func() error { return serves(at, "whoami.example.") }
		},
	}
	for name, start := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				p, alive := start(t)
				eventually(t, name+" serves", alive)
				for _, s := range harmless {
					p.signal(s)
					delivered(t, p.cmd.Process.Pid, s)
					eventually(t, fmt.Sprintf("%s serves after %v", name, s), alive)
					if !p.running() {
						t.Fatalf("%s ended by %v: %v", name, s, p.cmd.ProcessState)
					}
				}
				if name == "dns" {
					eventually(t, "SIGHUP and SIGUSR1 reload", func() error {
						if n := strings.Count(p.out.String(), "Reloading complete"); n < 3 {
							return fmt.Errorf("%d reloads", n)
						}
						return nil
					})
				}
				p.stop(end)
			}
			p, alive := start(t)
			eventually(t, name+" serves", alive)
			p.signal(syscall.SIGQUIT)
			if err := p.wait(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		r := startRack(t, nil, "--docker", "off")
		child, err := r.registryPID()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append([]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, harmless...) {
			if err := syscall.Kill(child, s); err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			delivered(t, child, s)
			if now, err := r.registryPID(); err != nil || now != child {
				t.Fatalf("after %v process %d is the registry, %v; it was %d", s, now, err, child)
			}
			run(t, "services", "--rack", r.name, "--etcd", r.etcd)
		}
	})
	for end, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run("exec/"+end.String(), func(t *testing.T) {
			t.Parallel()
			testWaiting(t, end, code)
		})
	}
}

// testWaiting is of a command that runs for a while and ends by itself.
func testWaiting(t *testing.T, end syscall.Signal, code int) {
	t.Helper()
	// An etcd that says nothing, for the command to wait for.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := launch(t, "exec", "--app", "shop", "--service", "web", "--etcd", "http://"+silent.Addr().String(), "--wait", "1h", "--", "true")
	asked, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		p.signal(s)
		delivered(t, p.cmd.Process.Pid, s)
		if !p.running() {
			t.Fatalf("ended by %v", s)
		}
	}
	p.signal(end)
	if err := p.wait(); err != nil || p.cmd.ProcessState.ExitCode() != code {
		t.Errorf("after %v: %v, %v; want exit code %d", end, err, p.cmd.ProcessState, code)
	}
}

// A log that nobody reads any more ends no server.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	at := etcdtest.FreeAddr(t)
	cmd := command(t, "agent", "--rack", "x", "--etcd", "http://"+etcdtest.FreeAddr(t), "--host-address", "10.0.2.10", "--metrics", at, "--docker", "unix:///nowhere/docker.sock")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	cmd.Stderr = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	eventually(t, "the agent serves, and has no engine to tell of", func() error {
		body, err := get("http://" + at + "/metrics")
		if err == nil && !strings.Contains(string(body), "rackdns_") {
			err = fmt.Errorf("no metrics of ours")
		}
		return err
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v, want exit code 0", err)
	}
}

// serves asks a server for an answer that is none of a failure.
func serves(at, name string) error {
	m, err := ask(at, "udp", name, dns.TypeSOA)
	if err == nil && m.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("%s: %s", name, dns.RcodeToString[m.Rcode])
	}
	return err
}

// delivered waits until a process has taken in a signal: it is not pending.
func delivered(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	eventually(t, "the signal is delivered", func() error {
		if inMask(pid, "ShdPnd", s) {
			return fmt.Errorf("%v is pending", s)
		}
		return nil
	})
}

// inMask looks a signal up in one of the masks of a process (proc(5)).
func inMask(pid int, mask string, s syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, mask+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			return err == nil && n&(1<<(s-1)) != 0
		}
	}
	return false
}
