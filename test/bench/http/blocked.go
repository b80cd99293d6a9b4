package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// blockedReads has many reads wait for one service, and changes that.
func (b *bench) blockedReads(ctx context.Context) ([]row, error) {
	resp, err := http.Get("http://" + b.rackdnsAddr + "/api/v1/services/default/web")
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	index := resp.Header.Get("Rackdns-Index")
	before, err := b.rackdns.rss()
	if err != nil {
		return nil, err
	}
	conns := make([]net.Conn, 0, b.blocked)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for n := range b.blocked {
		// From several addresses, as from several hosts.
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%200))}
		c, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", b.rackdnsAddr)
		if err != nil {
			return nil, fmt.Errorf("blocked read %d: %w", n, err)
		}
		conns = append(conns, c)
		_, err = fmt.Fprintf(c, "GET /api/v1/services/default/web?index=%s&wait=5m HTTP/1.1\r\nHost: %s\r\n\r\n", index, b.rackdnsAddr)
		if err != nil {
			return nil, fmt.Errorf("blocked read %d: %w", n, err)
		}
	}
	// Until all of them are where they wait.
	time.Sleep(2 * time.Second)
	during, err := b.rackdns.rss()
	if err != nil {
		return nil, err
	}
	c, err := registry.Open(registry.Config{Endpoints: []string{"http://" + b.etcdAddr}, Rack: rackName})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var wg sync.WaitGroup
	failed := make(chan error, len(conns))
	var mu sync.Mutex
	var last time.Time
	for n, c := range conns {
		wg.Go(func() {
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				failed <- err
				return
			}
			resp, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
			if err == nil {
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s", resp.Status)
				}
			}
			if err != nil {
				failed <- fmt.Errorf("blocked read %d: %w", n, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); now.After(last) {
				last = now
			}
		})
	}
	begin := time.Now()
	i := host("default", "web", 0)
	if err := c.SetHostWeight(ctx, "default", "web", netip.AddrPortFrom(i.Host, 8080), 50); err != nil {
		return nil, err
	}
	wg.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
	}
	return []row{
		{fmt.Sprintf("%d blocked reads, memory each", b.blocked), fmt.Sprintf("%.1f KB", float64(during-before)/float64(b.blocked)/1000), "≤ 16 KB"},
		{"one change wakes them all, until the last has its answer", fmt.Sprintf("%d ms", last.Sub(begin).Milliseconds()), "≤ 250 ms"},
	}, nil
}
