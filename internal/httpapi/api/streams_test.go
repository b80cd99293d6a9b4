package api_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/api"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpguard"
)

// patience is how long what is waited for may take on a busy machine.
const patience = 2 * time.Minute

// A thousand streams that are idle keep nobody from being answered, and each hears
// of the next change; one that doesn't read harms no other.
func TestThousandStreams(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme", apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001))
	hosts, err := httpguard.NewHosts("http-hosts")
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpapi.New(httpapi.Config{Hosts: hosts, Racks: []*httpapi.Rack{r.Rack}, Families: []httpapi.Family{api.Family()}, Connections: 2000, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Start(ln)
	t.Cleanup(s.Close)
	at := ln.Addr().String()

	const many = 1000
	streams := make([]*bufio.Reader, many)
	for n := range streams {
		// From as many hosts as it takes: each may have a hundred.
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+n%20))}
		c, err := (&net.Dialer{LocalAddr: from, Timeout: patience}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "GET /api/v1/watch HTTP/1.1\r\nHost: %s\r\n\r\n", at); err != nil {
			t.Fatal(err)
		}
		streams[n] = bufio.NewReader(c)
		if !hears(streams[n], "event: ready") {
			t.Fatalf("stream %d: is not ready", n)
		}
	}
	resp, err := http.Get("http://" + at + "/api/v1/services/shop")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("beside them: %s, %v", resp.Status, err)
	}
	r.Put(apitest.Instance("8db3b9378db0", "shop", "web", "node-2", "10.0.3.87", 40002))
	// The first hundred never read.
	for n, b := range streams[100:] {
		if !hears(b, "8db3b9378db0") {
			t.Fatalf("stream %d: doesn't hear of the change", n)
		}
	}
}

// hears reads until a line has the words.
func hears(b *bufio.Reader, words string) bool {
	for {
		line, err := b.ReadString('\n')
		if strings.Contains(line, words) {
			return true
		}
		if err != nil {
			return false
		}
	}
}
