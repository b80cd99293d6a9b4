package rack_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// listener is a secondary that only takes NOTIFYs, or refuses them.
type listener struct {
	addr string
	mu   sync.Mutex
	at   []time.Time
	zone map[string]int
}

func listen(t *testing.T, rcode int) *listener {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{addr: conn.LocalAddr().String(), zone: map[string]int{}}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		l.mu.Lock()
		if m.Opcode == dns.OpcodeNotify && len(m.Question) == 1 && m.Question[0].Qtype == dns.TypeSOA {
			l.at = append(l.at, time.Now())
			l.zone[m.Question[0].Name]++
		}
		l.mu.Unlock()
		r := new(dns.Msg).SetReply(m)
		r.Rcode = rcode
		_ = w.WriteMsg(r)
	}), MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = conn.Close()
		if err := <-done; err != nil {
			t.Log(err) // the socket is closed
		}
	})
	return l
}

func (l *listener) times(zone string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.zone[zone]
}

// TestNotify has secondaries hear of each change, at most once a second, also
// while another one refuses; those of a zone that isn't theirs hear nothing.
func TestNotify(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	takes, refuses, other := listen(t, dns.RcodeSuccess), listen(t, dns.RcodeRefused), listen(t, dns.RcodeSuccess)
	d := serve(t, fmt.Sprintf("acme.convox:0 acme.other:0 {\n bind 127.0.0.1\n transfer acme.convox {\n to %s %s\n }\n transfer example.com {\n to %s\n }\n rack {\n etcd %s\n node node-1\n }\n}\n",
		refuses.addr, takes.addr, other.addr, s.url))
	d.says(t, name, "10.1.0.1")
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("still not: %s", what)
			}
		}
	}
	until("a NOTIFY at the start", func() bool { return takes.times("acme.convox.") > 0 })
	before := takes.times("acme.convox.")
	for n := range 100 {
		s.put(web(n + 2))
	}
	until("a NOTIFY for changes", func() bool { return takes.times("acme.convox.") > before })
	d.says(t, fmt.Sprintf("%012x.%s", 101, name), "10.1.0.101")
	// What DNS doesn't show is no change.
	until("the end of the NOTIFYs", func() bool {
		takes.mu.Lock()
		defer takes.mu.Unlock()
		return time.Since(takes.at[len(takes.at)-1]) > 1500*time.Millisecond
	})
	before = takes.times("acme.convox.")
	same := web(1)
	same.Tags = map[string]string{"x": "y"}
	s.put(same)
	last := web(200)
	last.Ports = append([]registry.Port{}, last.Ports...)
	s.put(last)
	until("another change", func() bool { return takes.times("acme.convox.") > before })
	if got := takes.times("acme.convox."); got != before+1 {
		t.Errorf("%d NOTIFYs for one change that shows", got-before)
	}
	takes.mu.Lock()
	defer takes.mu.Unlock()
	for n := 1; n < len(takes.at); n++ {
		if gap := takes.at[n].Sub(takes.at[n-1]); gap < 950*time.Millisecond {
			t.Errorf("two NOTIFYs within %s", gap)
		}
	}
	if len(takes.zone) != 1 || other.times("acme.convox.")+other.times("acme.other.") > 0 {
		t.Errorf("NOTIFYs for %v, and %v", takes.zone, other.zone)
	}
	if refuses.times("acme.convox.") == 0 {
		t.Error("the one that refuses wasn't asked")
	}
}
