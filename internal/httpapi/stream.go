package httpapi

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// mostStreams is how many one address may have open. Others go on to be answered
// whatever one does.
const mostStreams = 100

// streams counts what is open.
type streams struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]int
}

// take takes one of an address's streams, false if it has too many.
func (s *streams) take(ip netip.Addr) bool {
	ip = hostOf(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byAddr[ip] >= mostStreams {
		return false
	}
	if s.byAddr == nil {
		s.byAddr = map[netip.Addr]int{}
	}
	s.byAddr[ip]++
	return true
}

func (s *streams) give(ip netip.Addr) {
	ip = hostOf(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byAddr[ip]--; s.byAddr[ip] <= 0 {
		delete(s.byAddr, ip)
	}
}

// hostOf is whose address it is: in IPv6 one host has a network of them.
func hostOf(ip netip.Addr) netip.Addr {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// streamTimeout is how long a reader of a stream may take for what there is to
// read.
const streamTimeout = 10 * time.Second

// Flush writes p to a stream. A client that doesn't read it in time is an error,
// upon which the stream is to end: it can come again.
func (r *Request) Flush(p []byte) error {
	if err := dated(r.w, streamTimeout); err != nil {
		return err
	}
	if _, err := r.w.Write(p); err != nil {
		return err
	}
	return http.NewResponseController(r.w).Flush()
}

// undated takes the deadlines of reading a request and writing an answer away.
func undated(w http.ResponseWriter) error {
	c := http.NewResponseController(w)
	return supported(errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})))
}

// dated gives what is written from now on a deadline.
func dated(w http.ResponseWriter, d time.Duration) error {
	return supported(http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)))
}

// supported lets a writer pass that has no connection, as in tests.
func supported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
