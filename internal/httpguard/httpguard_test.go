package httpguard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/connlimit"
)

// patience is how long anything may take that is certain to happen.
const patience = 2 * time.Minute

// serve serves "ok" to whoever gets past the guard, and returns where.
func serve(t *testing.T, listen string, limit int, further ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Skipf("can't listen on %s: %v", listen, err)
	}
	hosts, err := NewHosts("http-hosts", further...)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := NewServer(hosts, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	done := make(chan error, 1)
	go func() { done <- s.Serve(connlimit.New("test", limit, log).Listener(ln)) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// say sends a request as it stands and returns the answer.
func say(t *testing.T, at, request string) (answer, string) {
	t.Helper()
	c := dial(t, at)
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
	return answer{resp.Status, resp.StatusCode, resp.Header}, string(body)
}

// answer is a response without its body, which is read.
type answer struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// lanAddr is an address of this machine that isn't loopback.
func lanAddr(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}

// TestHost asks listeners of each kind by all kinds of names.
func TestHost(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	lan := lanAddr(t).String()
	names := []struct {
		host string
		want bool
	}{
		{"localhost", true},
		{"LocalHost", true},
		{"localhost.", true},
		{"127.0.0.1", true},
		{"127.0.0.53", true},
		{"[::1]", true},
		{"[::ffff:127.0.0.1]", true},
		{"[0:0:0:0:0:0:0:1]", true},
		{own, true},
		{strings.ToUpper(own) + ".", true},
		{lan, true},
		{"rackdns.example", true}, // by the flag
		{"RACKDNS.example.", true},
		{"192.0.2.80", true},
		{"[2001:db8::80]", true},
		{"evil.example", false},
		{"localhost.evil.example", false},
		{"evil.localhost", false},
		{"127.0.0.1.evil.example", false},
		{"x.rackdns.example", false},
		{"192.0.2.81", false},
		{"[2001:db8::81]", false},
		{"0.0.0.0", false},
		{"[::]", false},
		// Addresses to some programs, but no browser sends them like this.
		{"127.1", false},
		{"0x7f.1", false},
		{"0x7f000001", false},
		{"2130706433", false},
		{"0177.0.0.1", false},
		{"127.0.0.1.", false},
		{"[127.0.0.1]", false},
		{"::1", false},
		{"[::1", false},
		{"localhost..", false},
		{".", false},
		{"user@localhost", false},
		{"localhost:80:80", false},
	}
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", net.JoinHostPort(lan, "0"), "[::1]:0", "[::]:0"} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			at := serve(t, listen, 100, "rackdns.example", "192.0.2.80", "2001:db8::80")
			_, port, err := net.SplitHostPort(at)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				for _, suffix := range []string{"", ":" + port, ":1", ":65535"} {
					host := n.host + suffix
					if n.host == "::1" && suffix == "" {
						continue
					}
					resp, body := say(t, at, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
					if got := resp.StatusCode == http.StatusOK; got != n.want {
						t.Errorf("Host %s: %s %s", host, resp.Status, body)
					}
					if !n.want {
						checkRefusal(t, resp, body, host)
					}
				}
			}
			for _, port := range []string{":", ":0x50", ":65536", ":-1", ":http"} {
				resp, body := say(t, at, "GET / HTTP/1.1\r\nHost: localhost"+port+"\r\nConnection: close\r\n\r\n")
				if got := resp.StatusCode == http.StatusOK; got != (port == ":") {
					t.Errorf("Host localhost%s: %s %s", port, resp.Status, body)
				}
			}
		})
	}
}

// checkRefusal wants one sentence that says what to do.
func checkRefusal(t *testing.T, resp answer, body, host string) {
	t.Helper()
	if resp.StatusCode == http.StatusBadRequest {
		return // by net/http itself: no host at all
	}
	var says struct{ Error string }
	if err := json.Unmarshal([]byte(body), &says); err != nil {
		t.Errorf("Host %s: %q: %v", host, body, err)
	}
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(says.Error, "--http-hosts") || strings.Contains(says.Error, "\n") {
		t.Errorf("Host %s: %s %q", host, resp.Status, says.Error)
	}
}

func TestNoHost(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 100)
	for request, want := range map[string]int{
		"GET / HTTP/1.0\r\n\r\n":                                                            http.StatusOK,
		"GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n":                                      http.StatusForbidden,
		"GET / HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n":                             http.StatusForbidden,
		"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n":                              http.StatusForbidden,
		"GET / HTTP/1.1\r\nConnection: close\r\n\r\n":                                       http.StatusBadRequest,
		"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":                   http.StatusBadRequest,
		"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n": http.StatusForbidden,
		"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n": http.StatusOK,
	} {
		if resp, body := say(t, at, request); resp.StatusCode != want {
			t.Errorf("%q: %s %s, want %d", request, resp.Status, body, want)
		}
	}
}

func TestAnyHost(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 100, AnyHost)
	for host, want := range map[string]int{"evil.example": 200, "192.0.2.81": 200, "127.1": 200, "a b": 400, "[::1": 403} {
		if resp, body := say(t, at, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); resp.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", host, resp.Status, body, want)
		}
	}
}

// TestOrigin sends what browsers add to the requests of pages.
func TestOrigin(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 100, "rackdns.example")
	for _, tc := range []struct {
		host, headers string
		want          bool
	}{
		{"localhost:8080", "Origin: http://localhost:8080", true},
		{"LOCALHOST:8080", "Origin: http://localhost:8080", true},
		{"rackdns.example", "Origin: https://rackdns.example", true},
		{"[::1]:8080", "Origin: http://[::1]:8080", true},
		{"localhost:8080", "Origin: http://localhost:3000", false},
		{"localhost:8080", "Origin: http://localhost", false},
		{"localhost:8080", "Origin: http://127.0.0.1:8080", false},
		{"localhost:8080", "Origin: http://evil.example", false},
		{"localhost:8080", "Origin: http://localhost:8080.evil.example", false},
		{"localhost:8080", "Origin: http://evil@localhost:8080", true}, // the same origin, if anybody said so
		{"localhost:8080", "Origin: null", false},
		{"localhost:8080", "Origin:", false},
		{"localhost:8080", "Origin: file://localhost:8080", false},
		{"localhost:8080", "Origin: localhost:8080", false},
		{"localhost:8080", "Origin: http://localhost:8080\r\nOrigin: http://evil.example", false},
		{"localhost:8080", "Sec-Fetch-Site: none", true},
		{"localhost:8080", "Sec-Fetch-Site: same-origin", true},
		{"localhost:8080", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document", true},
		{"localhost:8080", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe", false},
		{"localhost:8080", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image", false},
		{"localhost:8080", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors", false},
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			want := tc.want && (method == "GET" || !strings.Contains(tc.headers, "navigate"))
			resp, body := say(t, at, method+" / HTTP/1.1\r\nHost: "+tc.host+"\r\n"+tc.headers+"\r\nConnection: close\r\n\r\n")
			if got := resp.StatusCode == http.StatusOK; got != want {
				t.Errorf("%s, Host %s, %q: %s %s", method, tc.host, tc.headers, resp.Status, body)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%q: %s", tc.headers, name)
				}
			}
			if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Errorf("%q: %v", tc.headers, resp.Header)
			}
		}
	}
}

func TestNewHosts(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "a.b.": true, "A_b": true, "10.0.0.1": true, "::1": true, "any": true,
		"": false, "a:80": false, "http://a": false, "a b": false, "a..b": false, "*.a": false, strings.Repeat("a", 64): false,
	} {
		if _, err := NewHosts("http-hosts", name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestIdleConnections leaves a thousand connections open that say nothing, and
// asks meanwhile.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 50)
	for range 1000 {
		dial(t, at)
	}
	if resp, body := say(t, at, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// TestSlowHeaders says one octet of a request after the other, for ever: the
// server ends that, and nobody waits for it.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 100)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := dial(t, at)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("still taken")
		}
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
	}
	// And one that says nothing at all.
	c = dial(t, at)
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("an idle connection: %v", err)
	}
}

func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", 100)
	c := dial(t, at)
	written := make(chan struct{})
	go func() {
		defer close(written)
		// It fails as soon as the server has had enough.
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", resp.Status)
	}
	c.Close()
	<-written
}
