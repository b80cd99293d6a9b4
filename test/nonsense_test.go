package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// halfOpen is how many connections say that there is more to come, which then
// doesn't.
const halfOpen = 4000

// TestNonsense sends what is no question, what never ends, and the largest
// messages that there are, and asks after each.
func TestNonsense(t *testing.T) {
	t.Parallel()
	needFiles(t, 2*halfOpen)
	r := startRack(t, nil, "--docker", "off")
	// With its own timeouts the server would be rid of them while they come.
	server := etcdtest.FreeAddr(t)
	d := launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(
		"%s:%s {\n bind 127.0.0.1\n timeouts {\n read 5m\n idle 5m\n }\n rack {\n etcd %s\n }\n}\n", r.zone, portOf(t, server), r.etcd)))
	ready(t, d, server, r.zone)
	prompt := func(t *testing.T) {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			if m, err := ask(server, network, r.zone, dns.TypeSOA); err != nil || m.Rcode != dns.RcodeSuccess {
				t.Errorf("somebody else, over %s: %v %v", network, m, err)
			}
		}
	}
	leaveHalfOpen(t, d, server)
	prompt(t)
	for _, n := range nonsense(t, r.zone) {
		t.Run(n.name, func(t *testing.T) {
			if got, err := n.told(server, r.zone); err != nil || got != n.want {
				t.Errorf("%q, %v, want %q", got, err, n.want)
			}
			prompt(t)
			if len(n.wire) < dns.MinMsgSize {
				if err := throw(server, n.wire); err != nil {
					t.Error(err)
				}
				prompt(t)
			}
		})
	}
	t.Run("junk", func(t *testing.T) {
		var all [][]byte
		for n := range 2000 {
			junk := make([]byte, n%600)
			for i := range junk {
				junk[i] = byte(n * (i + 7) >> 3)
			}
			all = append(all, junk)
		}
		if err := throw(server, all...); err != nil {
			t.Log(err)
		}
		// A question can get lost in a heap of junk, as ever with UDP.
		eventually(t, "an answer", func() error { return answered(ask(server, "udp", r.zone, dns.TypeSOA)) })
		prompt(t)
	})
	if n := openFiles(t, d); n < halfOpen {
		t.Errorf("the server has %d files open: not all %d connections are there any more", n, halfOpen)
	}
}

func answered(m *dns.Msg, err error) error {
	if err == nil && m.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("%v", m)
	}
	return err
}

// needFiles asks for as many open files.
func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur >= n {
		return
	}
	l.Cur, l.Max = n, max(l.Max, n)
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	demand(t, err == nil, "can't have %d files open (ulimit -n): %v", n, err)
}

// leaveHalfOpen makes connections on which nothing, half a length, or a length
// and no message comes, and waits until the server has all of them.
func leaveHalfOpen(t *testing.T, d *process, server string) {
	t.Helper()
	const dialers = 8
	from := net.Dialer{Timeout: soon, Control: shared}
	conns := make([]net.Conn, halfOpen)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	var wg sync.WaitGroup
	errs := make([]error, dialers)
	for part := range dialers {
		wg.Go(func() {
			for n := part; n < halfOpen && errs[part] == nil; n += dialers {
				if conns[n], errs[part] = from.Dial("tcp", server); errs[part] == nil {
					_, errs[part] = conns[n].Write([]byte{0xff, 0xff, 0}[:n%4])
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all connections", func() error {
		if n := openFiles(t, d); n < halfOpen {
			return fmt.Errorf("%d files are open", n)
		}
		return nil
	})
}

// openFiles counts a process's files and connections.
func openFiles(t *testing.T, p *process) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// throw sends packets and waits for no answer.
func throw(server string, packets ...[]byte) error {
	udp, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer udp.Close()
	for _, p := range packets {
		_, e := udp.Write(p)
		err = errors.Join(err, e)
	}
	return err
}

// message is what a server is sent, and the code that it has to answer with;
// none if it must not answer at all.
type message struct {
	name string
	wire []byte
	want string
}

// told sends the message and then a question over one TCP connection, on which
// answers come in order, and returns the code of the first one.
func (n *message) told(server, zone string) (string, error) {
	conn, err := net.DialTimeout("tcp", server, soon)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return "", err
	}
	if _, err := conn.Write(slices.Concat([]byte{byte(len(n.wire) >> 8), byte(len(n.wire))}, n.wire)); err != nil {
		return "", err
	}
	c := dns.Conn{Conn: conn}
	question := new(dns.Msg).SetQuestion(zone, dns.TypeSOA)
	question.Id = lastID
	if err := c.WriteMsg(question); err != nil {
		return "", err
	}
	code := ""
	for {
		m, err := c.ReadMsg()
		if err != nil {
			return code, err
		}
		if m.Id == lastID {
			return code, answered(m, nil)
		}
		code += dns.RcodeToString[m.Rcode]
	}
}

const (
	firstID = 1
	lastID  = 2
)

// nonsense is what a server should bear.
func nonsense(t *testing.T, zone string) []message {
	t.Helper()
	pack := func(edit func(*dns.Msg)) []byte {
		t.Helper()
		m := new(dns.Msg).SetQuestion(zone, dns.TypeSOA)
		m.Id = firstID
		edit(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	opcode := func(code int) []byte { return pack(func(m *dns.Msg) { m.Opcode = code }) }
	good := opcode(dns.OpcodeQuery)
	header, rest := good[:12], good[len(good)-4:]
	// counted has another number in the header: 4 is how many questions there
	// are, 10 how many additional records.
	counted := func(at int, n uint16, wire []byte) []byte {
		wire = slices.Clone(wire)
		wire[at], wire[at+1] = byte(n>>8), byte(n)
		return wire
	}
	name := func(octets ...byte) []byte { return slices.Concat(header, octets, rest) }
	labels := []byte(strings.Repeat("\x01a", 200))
	padding := dns.MaxMsgSize - len(good) - 11 - 4
	return []message{
		{"nothing", nil, ""},
		{"half a header", header[:7], ""},
		// So CoreDNS answers to it by itself.
		{"header without question", header, "SERVFAIL"},
		{"half a question", good[:len(good)-3], "FORMERR"},
		{"no question", counted(4, 0, header), "FORMERR"},
		{"two questions", counted(4, 2, slices.Concat(good, good[12:])), "FORMERR"},
		{"65,535 questions", counted(4, 65535, good), "FORMERR"},
		{"65,535 records", counted(10, 65535, good), "FORMERR"},
		{"name that points at itself", name(0xc0, 12), "FORMERR"},
		{"names that point at each other", name(0xc0, 14, 0xc0, 12), "FORMERR"},
		{"name that points beyond the end", name(0xff, 0xff), "FORMERR"},
		{"label of 127 octets", name(append([]byte{127}, labels...)...), "FORMERR"},
		{"name of 400 octets", name(append(labels, 0)...), "FORMERR"},
		{"name without end", slices.Concat(header, labels), "FORMERR"},
		{"response", pack(func(m *dns.Msg) { m.Response = true }), ""},
		{"STATUS", opcode(dns.OpcodeStatus), "NOTIMP"},
		{"NOTIFY", opcode(dns.OpcodeNotify), "NOTIMP"},
		{"UPDATE", opcode(dns.OpcodeUpdate), "NOTIMP"},
		{"opcode that there isn't", opcode(15), "NOTIMP"},
		{"65,535 octets, most of them padding", pack(func(m *dns.Msg) {
			opt := m.SetEdns0(4096, false).IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_PADDING{Padding: make([]byte, padding)})
		}), "NOERROR"},
		{"65,535 octets, most of them after the end", append(slices.Clone(good), make([]byte, dns.MaxMsgSize-len(good))...), "NOERROR"},
		{"65,535 octets of names", slices.Concat(counted(4, 65535, header), []byte(strings.Repeat("\x01a", 32000)), make([]byte, dns.MaxMsgSize-12-64000)), "FORMERR"},
	}
}

// TestLargestAnswer asks for a thousand instances, with as many addresses
// beside them as a message can hold.
func TestLargestAnswer(t *testing.T) {
	t.Parallel()
	r := startRack(t, nil, "--docker", "off")
	const n = 1000
	register(t, r, "shop", n)
	name := r.service("web", "shop")
	eventually(t, "all instances", func() error {
		m, err := ask(r.dns, "tcp", name, dns.TypeSRV)
		if err == nil && len(m.Answer) != n {
			err = fmt.Errorf("%d of %d", len(m.Answer), n)
		}
		return err
	})
	for range 20 {
		m, size, err := withoutEDNS("tcp", r.dns, new(dns.Msg).SetQuestion(name, dns.TypeSRV))
		if err != nil {
			t.Fatal(err)
		}
		if len(targets(m.Answer)) != n || m.Truncated {
			t.Fatalf("%d targets, TC %v, want all %d", len(targets(m.Answer)), m.Truncated, n)
		}
		// What is left is less than one more address takes.
		if size > dns.MaxMsgSize || size < dns.MaxMsgSize-40 {
			t.Errorf("%d octets with %d addresses, want as many as fit in %d", size, len(m.Extra), dns.MaxMsgSize)
		}
		if err := answered(ask(r.dns, "udp", r.zone, dns.TypeSOA)); err != nil {
			t.Error(err)
		}
	}
}
