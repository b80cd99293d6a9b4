package connlimit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

// echo echoes to whoever is let in.
func echo(t *testing.T, l *Limiter, ln net.Listener) string {
	t.Helper()
	limited, done := l.Listener(ln), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := limited.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until either end has enough
			}()
		}
	}()
	t.Cleanup(func() {
		limited.Close()
		<-done
	})
	return ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// client is one at an address of its own on the loopback interface.
type client struct {
	net.Conn
	t *testing.T
}

func connect(t *testing.T, at string, from byte) *client {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
	c, err := d.DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{c, t}
}

// heard reports whether somebody is there.
func (c *client) heard() bool {
	_, err := c.Write([]byte("?"))
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error(err)
	}
	return err == nil
}

func (l *Limiter) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// A flood of one client's takes nothing from the others, and the flood's last
// connection is as good as any.
func TestFlood(t *testing.T) {
	var logged bytes.Buffer
	l := New("test-flood", 8, slog.New(slog.NewTextHandler(&logged, nil)))
	at := echo(t, l, listen(t))
	var others []*client
	for n := range byte(3) {
		c := connect(t, at, 2+n)
		if !c.heard() {
			t.Fatal("not let in")
		}
		others = append(others, c)
	}
	var flood []*client
	for range 200 {
		flood = append(flood, connect(t, at, 1))
	}
	last := connect(t, at, 1)
	if !last.heard() {
		t.Error("a new connection of the client that floods gets nothing")
	}
	for n, c := range others {
		if !c.heard() {
			t.Errorf("client %d was thrown out for another's connections", n)
		}
	}
	alive := 0
	for _, c := range flood {
		if c.heard() {
			alive++
		}
	}
	// last has spoken, so all of the rest gave way to each other.
	if alive != 8-len(others)-1 || l.open() != 8 {
		t.Errorf("%d of the flood are left, %d connections in all", alive, l.open())
	}
	if lines := strings.Count(logged.String(), "\n"); lines != 1 || !strings.Contains(logged.String(), "client=127.0.0.1") {
		t.Errorf("%d lines:\n%s", lines, &logged)
	}
	for _, c := range append(append(flood, others...), last) {
		c.Close()
	}
	eventually(t, "connections are forgotten", func() bool { return l.open() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.clients) > 0 {
		t.Errorf("%v", l.clients)
	}
}

// The one that goes is the one on which nothing happened for longest.
func TestLeastActiveGoes(t *testing.T) {
	l := New("test-active", 2, slog.New(slog.DiscardHandler))
	at := echo(t, l, listen(t))
	first, second := connect(t, at, 1), connect(t, at, 1)
	if !first.heard() || !second.heard() || !first.heard() {
		t.Fatal("not let in")
	}
	third := connect(t, at, 1)
	if !third.heard() || !first.heard() || second.heard() {
		t.Error("the wrong one went")
	}
}

// One that is being served stays, however many come that say nothing.
func TestSilentGoFirst(t *testing.T) {
	l := New("test-silent", 4, slog.New(slog.DiscardHandler))
	at := echo(t, l, listen(t))
	served := connect(t, at, 1)
	if !served.heard() {
		t.Fatal("not let in")
	}
	for range 100 {
		connect(t, at, 1)
	}
	eventually(t, "all were accepted", func() bool { return l.open() == 4 })
	if !served.heard() {
		t.Error("thrown out for those that say nothing")
	}
}

// exhausted is a listener whose process is out of descriptors.
type exhausted struct {
	net.Listener
	failures, calls atomic.Int32
}

func (e *exhausted) Accept() (net.Conn, error) {
	e.calls.Add(1)
	if e.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return e.Listener.Accept()
}

func TestOutOfDescriptors(t *testing.T) {
	l := New("test-emfile", 2, slog.New(slog.DiscardHandler))
	e := &exhausted{Listener: listen(t)}
	e.failures.Store(4)
	if at := echo(t, l, e); !connect(t, at, 1).heard() {
		t.Error("not let in after the shortage")
	}
	// One that never ends keeps nobody from closing.
	e = &exhausted{Listener: listen(t)}
	e.failures.Store(1 << 30)
	limited, done := l.Listener(e), make(chan error)
	go func() {
		_, err := limited.Accept()
		done <- err
	}()
	eventually(t, "Accept was called", func() bool { return e.calls.Load() > 1 })
	limited.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for descriptors, want := range map[uint64]string{
		16: "{4 4 4}", 128: "{32 16 8}", 1024: "{256 128 64}", 1 << 20: "{4096 4096 1000}", 1<<64 - 1: "{4096 4096 1000}",
	} {
		if got := fmt.Sprint(share(descriptors)); got != want {
			t.Errorf("%d: %s, want %s", descriptors, got, want)
		}
	}
	for descriptors, want := range map[uint64]int{4: 4, 1024: 768, 20_000: 15_000, 1 << 20: maxAlone, 1<<64 - 1: maxAlone} {
		if got := aloneOf(descriptors); got != want {
			t.Errorf("%d alone: %d, want %d", descriptors, got, want)
		}
	}
}
