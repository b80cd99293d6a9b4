// Package connlimit shares out the process's file descriptors: it bounds the
// connections that others open to us, so that a flood of them can't take what we
// need for our own, to Docker and to the registry.
package connlimit

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Limiter bounds the connections of one or more listeners together. At the
// limit a new connection takes the place of another of the client that has most:
// of one that has said nothing yet, else of the one on which nothing happened for
// longest. So a client that floods us harms itself first.
type Limiter struct {
	max     int
	name    string
	log     *slog.Logger
	started time.Time

	mu      sync.Mutex
	conns   map[*conn]struct{}
	clients map[netip.Addr]int // how many connections each has
	// saidAt is when the log was last told that there is no room.
	saidAt time.Time
}

// repeatAfter is when it is told again, if that lasts or has come back.
const repeatAfter = 10 * time.Minute

// New returns a Limiter of max connections, one at least. The name is what its
// metrics and its log say.
func New(name string, limit int, log *slog.Logger) *Limiter {
	// They are there before the first of each happens.
	connections.WithLabelValues(name)
	evictions.WithLabelValues(name)
	acceptErrors.WithLabelValues(name)
	return &Limiter{
		max: max(limit, 1), name: name, log: log, started: time.Now(),
		conns: map[*conn]struct{}{}, clients: map[netip.Addr]int{},
	}
}

// Listener returns a listener that has its connections from ln, within the
// limit. Its Accept waits where the process has no descriptor left, instead of
// failing again and again.
func (l *Limiter) Listener(ln net.Listener) net.Listener {
	return &listener{Listener: ln, limiter: l, closed: make(chan struct{})}
}

type listener struct {
	net.Listener

	limiter *Limiter
	once    sync.Once
	closed  chan struct{}
}

// Accept implements net.Listener.
func (ln *listener) Accept() (net.Conn, error) {
	var pause *backoff.ExponentialBackOff
	for {
		c, err := ln.Listener.Accept()
		if err == nil {
			return ln.limiter.add(c), nil
		}
		if !isTemporary(err) {
			return nil, err
		}
		if pause == nil {
			pause = &backoff.ExponentialBackOff{InitialInterval: 5 * time.Millisecond, Multiplier: 2, MaxInterval: time.Second}
			pause.Reset()
			acceptErrors.WithLabelValues(ln.limiter.name).Inc()
		}
		wait := time.NewTimer(pause.NextBackOff())
		select {
		case <-wait.C:
		case <-ln.closed:
			wait.Stop()
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener.
func (ln *listener) Close() error {
	ln.once.Do(func() { close(ln.closed) })
	return ln.Listener.Close()
}

// isTemporary reports whether a listener may accept again later. What the net
// package says of it is deprecated for all but this.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

// conn is an accepted connection.
type conn struct {
	net.Conn

	limiter *Limiter
	client  netip.Addr
	// active is when something was read or written last, in nanoseconds since
	// the limiter's start.
	active atomic.Int64
	// spoke is 1 once the client has said anything.
	spoke atomic.Int32
	once  sync.Once
}

// add takes a connection in, in place of another if there is no room.
func (l *Limiter) add(nc net.Conn) *conn {
	c := &conn{Conn: nc, limiter: l, client: clientOf(nc)}
	c.touch()
	l.mu.Lock()
	var evicted *conn
	if len(l.conns) >= l.max {
		evicted = l.leastActive()
		l.forget(evicted)
	}
	l.conns[c] = struct{}{}
	l.clients[c.client]++
	connections.WithLabelValues(l.name).Set(float64(len(l.conns)))
	news := evicted != nil && (l.saidAt.IsZero() || time.Since(l.saidAt) >= repeatAfter)
	if news {
		l.saidAt = time.Now()
	}
	l.mu.Unlock()
	if evicted == nil {
		return c
	}
	evictions.WithLabelValues(l.name).Inc()
	if news {
		l.log.Warn("too many connections: each new one closes one of the client that has most",
			"listener", l.name, "limit", l.max, "client", evicted.client)
	}
	_ = evicted.Conn.Close() // Its owner learns it from the next read.
	return c
}

// leastActive returns the connection that can best be spared. The caller holds
// the lock.
func (l *Limiter) leastActive() *conn {
	var found *conn
	for c := range l.conns {
		if found == nil || l.compare(c, found) < 0 {
			found = c
		}
	}
	return found
}

// compare says by its sign which of two connections can better be spared.
func (l *Limiter) compare(a, b *conn) int {
	return cmp.Or(
		cmp.Compare(l.clients[b.client], l.clients[a.client]),
		cmp.Compare(a.spoke.Load(), b.spoke.Load()),
		cmp.Compare(a.active.Load(), b.active.Load()),
	)
}

// forget takes a connection out. The caller holds the lock.
func (l *Limiter) forget(c *conn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if l.clients[c.client]--; l.clients[c.client] == 0 {
		delete(l.clients, c.client)
	}
	connections.WithLabelValues(l.name).Set(float64(len(l.conns)))
}

func (c *conn) touch() { c.active.Store(int64(time.Since(c.limiter.started))) }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.spoke.Store(1)
		c.touch()
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.limiter.mu.Lock()
		defer c.limiter.mu.Unlock()
		c.limiter.forget(c)
	})
	return c.Conn.Close()
}

// clientOf returns whose connection it is: an address or, in IPv6, the network
// that one host gets, out of which it may ask with any address.
func clientOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}
