package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Exit codes.
const (
	failed = 1
	misuse = 2
)

// A mistake costs one line that names the culprit, and a code that a script
// can tell from success.
func TestMistakes(t *testing.T) {
	t.Parallel()
	taken, data := etcdtest.FreeAddr(t), t.TempDir()
	ln, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	file := filepath.Join(data, "file")
	if err := os.WriteFile(file, []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(data, "Corefile.missing")
	// Only the last of two flags counts, so that each case may override these.
	standalone := func(args ...string) []string {
		return append([]string{
			"standalone", "--docker", "off", "--data", filepath.Join(shortDir(t), "data"),
			"--dns", etcdtest.FreeAddr(t), "--http", httpOff,
		}, args...)
	}
	tests := []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown command", []string{"frobnicate"}, misuse, []string{"frobnicate"}},
		{"unknown flag", []string{"standalone", "--colour"}, misuse, []string{"--colour"}},
		{"unknown flag of agent", []string{"agent", "--colour"}, misuse, []string{"--colour"}},
		{"argument too many", standalone("extra"), misuse, []string{"extra"}},
		{"no DNS address", standalone("--dns", "nonsense"), misuse, []string{"--dns", "nonsense"}},
		{"no DNS port", standalone("--dns", "127.0.0.1:99999"), misuse, []string{"--dns", "99999"}},
		{"no etcd address", standalone("--etcd-listen", "nonsense"), misuse, []string{"--etcd-listen", "nonsense"}},
		{"no rack name", standalone("--rack", "not_a_label"), misuse, []string{"rack", "not_a_label"}},
		{"no suffix", standalone("--suffix", "not..one"), misuse, []string{"suffix", "not..one"}},
		{"no namespace", standalone("--namespaces", "shop,a.b"), misuse, []string{"--namespaces", "a.b"}},
		{"nobody to look up for", standalone("--allow-recursion", "localnets,lan"), misuse, []string{"--allow-recursion", "lan"}},
		{"no host name", standalone("--http-hosts", "http://a"), misuse, []string{"--http-hosts", "http://a"}},
		{"no node name", standalone("--node", "a/b"), misuse, []string{"node", "a/b"}},
		{"no host address", standalone("--host-address", "here"), misuse, []string{"--host-address", "here"}},
		{"no Docker host", standalone("--docker", "nonsense"), misuse, []string{"--docker", "nonsense"}},
		{"DNS port in use, and no other", append(standalone()[:5], "--dns", taken, "--http", httpOff), failed, []string{"--dns", taken, "in use"}},
		{
			"etcd port in use", standalone("--etcd-listen", taken, "--etcd-user", "u", "--etcd-password-file", file),
			failed, []string{"--etcd-listen", taken, "in use"},
		},
		{
			"etcd open to a network", standalone("--etcd-listen", "10.0.2.10:2379"),
			misuse, []string{"--etcd-listen 10.0.2.10:2379", "--etcd-listen-client-ca", "--etcd-user", "etcd.sock"},
		},
		{"etcd open to this host", standalone("--etcd-listen", taken), misuse, []string{"--etcd-listen " + taken, "--etcd-listen-client-ca"}},
		{
			"etcd with a certificate, for whoever comes", standalone("--etcd-listen", taken, "--etcd-listen-cert", file, "--etcd-listen-key", file),
			misuse, []string{"--etcd-listen " + taken, "--etcd-listen-client-ca"},
		},
		{
			"a CA of clients without a certificate", standalone("--etcd-listen", taken, "--etcd-listen-client-ca", file),
			misuse, []string{"--etcd-listen-client-ca", "--etcd-listen-cert"},
		},
		{"a certificate without a TCP address", standalone("--etcd-listen-cert", file), misuse, []string{"--etcd-listen-cert", "--etcd-listen HOST:PORT"}},
		{
			"users that there are not", standalone("--etcd-listen", etcdtest.FreeAddr(t), "--etcd-user", "u", "--etcd-password-file", file),
			failed, []string{"has no users", "auth enable"},
		},
		{"etcd at a socket's name that is a file's", standalone("--etcd-listen", "unix:"+file), failed, []string{file, "no socket"}},
		{
			"etcd at a socket with a long name", standalone("--etcd-listen", "unix:/tmp/"+strings.Repeat("x", 108)),
			failed, []string{"113 bytes", "at most 107", "--etcd-listen unix:PATH"},
		},
		{
			"a registry that isn't there", []string{"services", "--etcd", "unix://" + missing},
			failed, []string{"unix://" + missing, "no such socket", "standalone"},
		},
		{"a registry at a socket's host", []string{"services", "--etcd", "unix://host/x"}, misuse, []string{"--etcd", "unix:///PATH"}},
		{"data is a file", standalone("--data", file), failed, []string{file}},
		{"data below a file", standalone("--data", filepath.Join(file, "data")), failed, []string{file}},
		{"no Corefile", []string{"dns", "-conf", missing}, failed, []string{missing}},
		{
			"typo in a Corefile", []string{"dns", "-conf", corefile(t, "acme.convox:0 {\n    rack {\n        addresses auto\n    }\n}\n")},
			failed, []string{"Corefile:3", "addresses"},
		},
		{
			"wrong value in a Corefile", []string{"dns", "-conf", corefile(t, "acme.convox:0 {\n    rack {\n        ttl never\n    }\n}\n")},
			failed, []string{"Corefile:3", "ttl", "never"},
		},
		{
			"unknown plugin in a Corefile", []string{"dns", "-conf", corefile(t, "acme.convox:0 {\n    rock\n}\n")},
			failed, []string{"Corefile:2", "rock"},
		},
		{
			"port of a Corefile in use", []string{"dns", "-conf", corefile(t, "acme.convox:"+portOf(t, taken)+" {\n    bind 127.0.0.1\n    rack\n}\n")},
			failed, []string{taken, "in use"},
		},
		{"agent without an address", []string{"agent", "--rack", "x", "--etcd", "nonsense"}, misuse, []string{"--etcd", "nonsense"}},
		{"HTTP at no address", standalone("--http", "nonsense"), misuse, []string{"--http", "nonsense"}},
		{"metrics of an agent at an unknown host", []string{"agent", "--metrics", "here.invalid:1"}, failed, []string{"--metrics", "here.invalid"}},
		{"metrics of an agent at no port", []string{"agent", "--metrics", "localhost:http"}, misuse, []string{"--metrics", "localhost:http", `"http"`}},
		{"HTTP port in use", standalone("--http", taken), failed, []string{"--http", taken, "in use"}},
		{"explain nothing", []string{"explain"}, misuse, []string{"explain", "container"}},
		{"explain an empty name", []string{"explain", ""}, misuse, []string{"explain", "container"}},
		{"explain two", []string{"explain", "a", "b"}, misuse, []string{"explain", "one container"}},
		{"explain in a format of its own", []string{"explain", "a", "-o", "xml"}, misuse, []string{"--output", "xml"}},
		{"dry run in a format of its own", []string{"agent", "--dry-run", "-o", "xml"}, misuse, []string{"--output", "xml"}},
		{"explain without an engine", []string{"explain", "a", "--host-address", "10.0.2.10", "--docker", "unix://" + missing}, failed, []string{missing}},
		{"unknown flag of CoreDNS", []string{"dns", "-nonsense"}, misuse, []string{"-nonsense"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := completed(t, command(t, tc.args...))
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			checkOneLine(t, stderr, tc.want...)
			if t.Failed() {
				t.Logf("%v printed\n%s%s", tc.args, stdout, stderr)
			}
		})
	}
}

// checkOneLine checks that a message is one line and has all that it should.
func checkOneLine(t *testing.T, message string, want ...string) {
	t.Helper()
	if n := strings.Count(strings.TrimSpace(message), "\n") + 1; n != 1 {
		t.Errorf("%d lines on stderr, want one", n)
	}
	for _, w := range want {
		if !strings.Contains(message, w) {
			t.Errorf("%q is not in the message", w)
		}
	}
}

// A data directory that belongs to someone else. Root reads everything, so the
// program runs as nobody.
func TestUnreadableData(t *testing.T) {
	t.Parallel()
	demand(t, os.Getuid() == 0, "can't run a process as another user: not root")
	data := filepath.Join(runDir, unique("data"))
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "standalone", "--docker", "off", "--data", data, "--dns", etcdtest.FreeAddr(t), "--http", httpOff)
	cmd.Dir = runDir
	asNobody(cmd)
	stdout, stderr, code := completed(t, cmd)
	if code != failed {
		t.Errorf("exit code %d, want %d", code, failed)
	}
	checkOneLine(t, stderr, data, "permission denied")
	if t.Failed() {
		t.Logf("printed\n%s%s", stdout, stderr)
	}
}

func asNobody(cmd *exec.Cmd) {
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := completed(t, command(t, "version"))
	if code != 0 || !strings.Contains(stdout, version) || stderr != "" {
		t.Errorf("exit code %d, %q, %q; want 0 and %s", code, stdout, stderr, version)
	}
}

// Help is an answer, not a mistake.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"help"}, {"standalone", "--help"}, {"agent", "--help"}, {"explain", "--help"}} {
		stdout, stderr, code := completed(t, command(t, args...))
		if code != 0 || !strings.Contains(stdout, "rackdns") || stderr != "" {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	stdout, _, _ := completed(t, command(t, "standalone", "--help"))
	for _, flag := range []string{
		"--rack", "--suffix", "--dns", "--namespaces", "--etcd-listen", "--http", "--data", "--docker", "--node", "--host-address",
	} {
		if !strings.Contains(stdout, flag+" ") {
			t.Errorf("standalone --help doesn't tell of %s", flag)
		}
	}
}

// Each flag has an environment variable; a flag on the command line wins.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	cmd := command(t, "standalone", "--docker", "off")
	cmd.Env = append(cmd.Env, "RACKDNS_RACK=not_a_label", "RACKDNS_DATA="+t.TempDir())
	_, stderr, code := completed(t, cmd)
	if code != misuse {
		t.Errorf("exit code %d, want %d", code, misuse)
	}
	checkOneLine(t, stderr, "rack", "not_a_label")

	r := newRack(t, nil, "--docker", "off")
	cmd = command(t, r.args...)
	cmd.Env = append(cmd.Env, "RACKDNS_RACK=not_a_label")
	r.process = launchCommand(t, cmd)
	ready(t, r.process, r.dns, r.zone)
}
