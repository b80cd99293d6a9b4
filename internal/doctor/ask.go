package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// answerPatience is how long a DNS server may take.
const answerPatience = 2 * time.Second

// dial is how a question gets to a server: from here, or from inside a container.
type dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)

func fromHere(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, to.String())
}

// question is one question to a server.
type question struct {
	name  string
	qtype uint16
	// unchecked asks a validating resolver for what it doesn't believe, too (CD).
	unchecked bool
}

// ask asks over UDP, and over TCP what is cut, or only that. It returns where the
// question came from, too.
func (d dial) ask(ctx context.Context, network string, to netip.AddrPort, q question) (*dns.Msg, netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	conn, err := d(ctx, network, to)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }()
	from := netip.Addr{}
	if at, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
		from = at.Addr().Unmap()
	}
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	m.SetEdns0(dns.DefaultMsgSize, false)
	m.CheckingDisabled = q.unchecked
	deadline, _ := ctx.Deadline() // it has one
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, from, err
	}
	over := &dns.Conn{Conn: conn, UDPSize: dns.DefaultMsgSize}
	if err := over.WriteMsg(m); err != nil {
		return nil, from, err
	}
	for {
		r, err := over.ReadMsg()
		switch {
		case err != nil:
			return nil, from, err
		case r.Id != m.Id:
			continue // of somebody who makes answers up
		case r.Truncated && network == "udp":
			return d.ask(ctx, "tcp", to, q)
		}
		return r, from, nil
	}
}

// noAnswer says why there was none.
func noAnswer(err error) string {
	var n net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &n) && n.Timeout():
		return fmt.Sprintf("no answer within %s", answerPatience)
	case errors.As(err, &op):
		return strings.TrimPrefix(strings.TrimPrefix(op.Err.Error(), "connect: "), "read: ")
	}
	return err.Error()
}

// knows reports whether an answer to a question for the SOA record of a zone is
// one of that zone.
func knows(m *dns.Msg, zone string) bool {
	if m.Rcode != dns.RcodeSuccess {
		return false
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeSOA && strings.EqualFold(rr.Header().Name, zone) {
			return true
		}
	}
	return false
}

// says is what an answer comes to, in a word or two.
func says(m *dns.Msg) string {
	if m.Rcode == dns.RcodeSuccess {
		return "that it has nothing"
	}
	return dns.RcodeToString[m.Rcode]
}
