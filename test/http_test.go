package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// asks sends a request as it stands to an HTTP listener and returns the code and
// the body of the answer.
func asks(t *testing.T, at, request string) (int, string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", at, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A web page is no way into the HTTP listeners of a standalone and of an agent,
// and a connection that says nothing is closed.
func TestBrowserIsNoWayIn(t *testing.T) {
	t.Parallel()
	at, agent := etcdtest.FreeAddr(t), etcdtest.FreeAddr(t)
	r := startRack(t, nil, "--docker", "off", "--http", at, "--http-hosts", "rackdns.example")
	launch(t, "agent", "--rack", r.name, "--etcd", r.etcd, "--host-address", hosted, "--docker", "unix:///nowhere/docker.sock",
		"--metrics", agent, "--metrics-hosts", "rackdns.example,other.example")
	eventually(t, "the agent's listener", func() error { return ok(agent, "/healthz") })
	for listener, flag := range map[string]string{at: "--http-hosts", agent: "--metrics-hosts"} {
		for headers, want := range map[string]int{
			"Host: " + listener:       http.StatusOK,
			"Host: localhost":         http.StatusOK,
			"Host: rackdns.example":   http.StatusOK,
			"Host: " + hosted + ":80": http.StatusForbidden,
			"Host: evil.example":      http.StatusForbidden,
			"Host: " + listener + "\r\nOrigin: http://evil.example": http.StatusForbidden,
		} {
			if listener == agent && strings.Contains(headers, hosted) {
				want = http.StatusOK // It was told that this is its address.
			}
			code, body := asks(t, listener, "GET /metrics HTTP/1.1\r\n"+headers+"\r\nConnection: close\r\n\r\n")
			if code != want || (code == http.StatusOK) != strings.Contains(body, "go_goroutines") {
				t.Errorf("%q: %d, want %d: %.200s", headers, code, want, body)
			}
			if strings.Contains(headers, "evil.example") && !strings.Contains(headers, "Origin") && !strings.Contains(body, flag) {
				t.Errorf("%q: doesn't say what to do: %s", headers, body)
			}
		}
	}
	c, err := net.DialTimeout("tcp", at, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("a connection that says nothing: %v", err)
	}
}

// The transcripts of the pages about HTTP, each typed into one shell beside a rack
// that serves it from the very index that DNS answers from.
func TestHTTPTranscript(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"http.md", "lyft-discovery.md", "consul.md", "convox.md"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			runHTTPTranscript(t, page)
		})
	}
}

func runHTTPTranscript(t *testing.T, page string) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "jq"} {
		needTool(t, tool)
	}
	at := etcdtest.FreeAddr(t)
	r := newRack(t, nil, "--rack", "local", "--docker", "off", "--http", at)
	r.zone = "local.convox."
	r.start()
	text, err := os.ReadFile(filepath.Join(repository(), "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```console\n")
	transcript, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("docs/%s has no transcript", page)
	}
	sh := newShell(t)
	sh.run("export PATH=" + commandDir(t) + ":$PATH RACKDNS_ETCD=" + r.etcd + " RACKDNS_HTTP=" + at + " RACKDNS_DATA=" + r.data)
	for _, s := range steps(transcript) {
		eventually(t, s.command, func() error {
			got := sh.run(strings.ReplaceAll(s.command, "127.0.0.1:8080", at))
			if diff := cmp.Diff(strings.Join(s.prints, "\n"), strings.Join(got, "\n")); diff != "" {
				return fmt.Errorf("(-docs +here):\n%s", diff)
			}
			return nil
		})
	}
	body, err := get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	// One watch: DNS and HTTP share an index.
	if !regexp.MustCompile(`(?m)^rackdns_registry_watch_starts_total(\{[^}]*\})? 1$`).Match(body) {
		t.Errorf("there is more than one watch: %s", regexp.MustCompile(`(?m)^rackdns_registry_watch.*$`).FindAll(body, -1))
	}
}
