package rack

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/reuseport"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestLeave has two servers share an address, each with a queue of questions,
// when the first one leaves: all are answered, from the address that was asked,
// and what comes afterwards is the other one's.
func TestLeave(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ bind, ask string }{
		{"127.0.0.1", "127.0.0.1"},
		{"::1", "::1"},
		{"0.0.0.0", "127.0.0.1"},
		{"0.0.0.0", "127.0.0.9"},
		{"", "127.0.0.1"},
		{"", "127.0.0.9"},
		{"", "::1"},
	} {
		t.Run(tc.bind+" asked at "+tc.ask, func(t *testing.T) {
			t.Parallel()
			first := newSharer(t, net.JoinHostPort(tc.bind, "0"))
			second := newSharer(t, net.JoinHostPort(tc.bind, first.port))
			const questions = 100
			queued := questionsTo(t, net.JoinHostPort(tc.ask, first.port), questions)
			left := make(chan struct{})
			sockets := []int{first.descriptor(t)}
			go func() { defer close(left); leave(sockets) }()
			first.serve(t)
			<-left
			// While the first one still reads: it has left all the same.
			later := questionsTo(t, net.JoinHostPort(tc.ask, first.port), questions)
			if err := first.dns.Shutdown(); err != nil {
				t.Error(err)
			}
			before := first.asked.Load()
			if before == 0 || before >= questions {
				t.Errorf("the first server was asked %d questions, want a part of %d", before, questions)
			}
			second.serve(t)
			for n, c := range append(queued, later...) {
				if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.ReadMsg(); err != nil {
					t.Fatalf("question %d: %v", n, err)
				}
			}
			if got, want := second.asked.Load(), 2*questions-before; got != want {
				t.Errorf("the second server was asked %d questions, want %d", got, want)
			}
		})
	}
}

// TestShared has sockets at the same port that are none of a server that shares
// the address.
func TestShared(t *testing.T) {
	t.Parallel()
	a := newSharer(t, "127.0.0.1:0")
	// The same again, at another address, and a client's.
	b := newSharer(t, "127.0.0.1:"+a.port)
	newSharer(t, "127.0.0.2:"+a.port)
	questionsTo(t, "127.0.0.1:"+a.port, 1)
	if own, err := net.ListenPacket("udp", "127.0.0.3:"+a.port); err == nil {
		t.Cleanup(func() { _ = own.Close() })
	}
	all := newSharer(t, ":0")
	for _, tc := range []struct {
		addrs []string
		want  []*sharer
	}{
		{[]string{"127.0.0.1:" + a.port}, []*sharer{a, b}},
		{[]string{"127.0.0.3:" + a.port, "127.0.0.1:1"}, nil},
		{[]string{":" + all.port}, []*sharer{all}},
		{[]string{"0.0.0.0:" + all.port}, []*sharer{all}},
		{[]string{"127.0.0.1:" + all.port}, nil},
	} {
		var got, want []uint64
		for _, fd := range shared(tc.addrs) {
			got = append(got, inode(t, fd))
			_ = unix.Close(fd)
		}
		for _, s := range tc.want {
			fd := s.descriptor(t)
			want = append(want, inode(t, fd))
			_ = unix.Close(fd)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: sockets %v, want %v", tc.addrs, got, want)
		}
	}
}

// sharer is a DNS server that shares its address, as CoreDNS's do.
type sharer struct {
	dns   *dns.Server
	conn  *net.UDPConn
	port  string
	asked atomic.Int64
}

func newSharer(t *testing.T, address string) *sharer {
	t.Helper()
	conn, err := reuseport.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		t.Fatalf("a %T for UDP", conn)
	}
	s := &sharer{conn: udp, port: port}
	s.dns = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		s.asked.Add(1)
		if err := w.WriteMsg(new(dns.Msg).SetReply(m)); err != nil {
			t.Error(err)
		}
	})}
	return s
}

// serve returns when the server reads.
func (s *sharer) serve(t *testing.T) {
	t.Helper()
	serves, ended := make(chan struct{}), make(chan struct{})
	s.dns.NotifyStartedFunc = func() { close(serves) }
	go func() {
		defer close(ended)
		if err := s.dns.ActivateAndServe(); err != nil {
			t.Error(err)
		}
	}()
	<-serves
	t.Cleanup(func() { _ = s.dns.Shutdown(); <-ended })
}

// descriptor returns another descriptor of the socket, as shared does.
func (s *sharer) descriptor(t *testing.T) (fd int) {
	t.Helper()
	raw, err := s.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// questionsTo sends questions from a socket each, so that they are shared.
func questionsTo(t *testing.T, server string, n int) []*dns.Conn {
	t.Helper()
	var clients []*dns.Conn
	for range n {
		c, err := dns.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.WriteMsg(new(dns.Msg).SetQuestion("web.shop.acme.convox.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	return clients
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
