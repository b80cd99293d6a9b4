package hosts

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Patience is how long a Dial waits for an answer. One that comes takes a
// millisecond or so; what the packet filter drops takes it all.
const Patience = 500 * time.Millisecond

// answerLimit is how long a DNS server may take: for a bare name it waits two
// seconds to hear who asks.
const answerLimit = 5 * time.Second

// Client is somewhere to ask and dial from: a machine, or a container.
type Client struct {
	Name string
	// Node is the Docker host that it is, or is on; nil without Docker.
	Node *Host
	// Container is nil for a machine.
	Container *Container

	netns *namespace
}

func (c *Client) String() string { return c.Name }

// Dial returns the identity of what answers there, over tcp or udp, to this
// client: a container's name.
func (c *Client) Dial(proto string, to netip.AddrPort) (identity string, err error) {
	return c.dial(proto, to, Patience)
}

func (c *Client) dial(proto string, to netip.AddrPort, limit time.Duration) (identity string, err error) {
	conn, err := c.connect(proto, to, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if proto == "udp" {
		// A lost datagram is not sent again by anybody else.
		if _, err := conn.Write([]byte("ping")); err != nil {
			return "", err
		}
		buf := make([]byte, 1500)
		n, err := conn.Read(buf)
		if err != nil {
			return "", err
		}
		id, _, _ := strings.Cut(string(buf[:n]), " ")
		return id, nil
	}
	// docker-proxy accepts, and closes where there is nobody behind it.
	id, err := io.ReadAll(conn)
	if err == nil && len(id) == 0 {
		err = errors.New("accepted and closed without a word")
	}
	return strings.TrimSpace(string(id)), err
}

// connect makes a connection that is over after some time.
func (c *Client) connect(proto string, to netip.AddrPort, limit time.Duration) (conn net.Conn, err error) {
	deadline := time.Now().Add(limit)
	err = c.netns.do(func() error {
		var err error
		// Of one address it makes the socket on this thread.
		conn, err = (&net.Dialer{Deadline: deadline}).Dial(proto, to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}

// Command is a program that runs where the client is, with the machine's files.
// Who starts it ends it.
func (c *Client) Command(name string, args ...string) *exec.Cmd {
	return c.netns.command(name, args...)
}

// Exchange asks a DNS server over udp or tcp.
func (c *Client) Exchange(proto string, server netip.AddrPort, query *dns.Msg) (*dns.Msg, error) {
	conn, err := c.connect(proto, server, answerLimit)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, _, err := (&dns.Client{Timeout: answerLimit}).ExchangeWithConn(query, &dns.Conn{Conn: conn})
	return reply, err
}

// Resolve asks a DNS server for the records of one type that a name has. An
// answer without is no error, one that says that it is none is.
func (c *Client) Resolve(proto string, server netip.AddrPort, name string, kind uint16) ([]dns.RR, error) {
	reply, err := c.Exchange(proto, server, new(dns.Msg).SetQuestion(dns.Fqdn(name), kind))
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("%s of %s: %s", dns.TypeToString[kind], name, dns.RcodeToString[reply.Rcode])
	}
	var found []dns.RR
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == kind {
			found = append(found, rr)
		}
	}
	return found, nil
}
