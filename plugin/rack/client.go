package rack

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/reach"
)

const (
	// containerWait is how long a question may wait for whoever asks to become
	// known. The engine's event, an inspect and a write to the registry take a
	// hundredth of that, but where fifty containers start at once on a host that is
	// busy already, each waits for its turn, which took up to 0.8 s. It is less than
	// the 4 s after which Docker's embedded DNS gives up on a server, and the 5 s of
	// glibc, musl (which asks again in between) and Go, by their defaults.
	containerWait = 3500 * time.Millisecond
	// maxWaiting is how many questions wait at once. Others aren't worse off
	// than they were without waiting.
	maxWaiting = 1000
	// localFor is how long it is remembered which addresses are this host's.
	localFor = 10 * time.Second
)

// clients is what a server knows of who asks beyond the index.
type clients struct {
	waiting chan struct{}
	local   localAddrs
	hidden  *lasting.Trouble
}

func newClients() *clients {
	return &clients{waiting: make(chan struct{}, maxWaiting), hidden: lasting.New(slog.New(logHandler{}))}
}

// Client returns who asks a question: as a rule, who sent it. What a forwarder says
// of whom it asks for counts from forwarders alone, since anybody can say that.
func (r *Rack) Client(s *index.Snapshot, w dns.ResponseWriter, req *dns.Msg) *index.Client {
	c, _, _ := r.clientOf(s, w, req)
	return c
}

// sender returns who has the address that a question comes from.
func (r *Rack) sender(s *index.Snapshot, ip netip.Addr) *index.Client {
	c := s.Asker(ip)
	if c.Kind() != reach.Hidden {
		return c
	}
	if r.clients.local.has(ip) {
		// A process that asks at the gateway's address has that for its own.
		return s.Self()
	}
	r.noteHidden(ip)
	return c
}

// AwaitContainer is [Rack.Client] for a question that depends on which container
// asks. If that has an address on a network of this node and isn't known yet, it
// waits until it is, but not for long. known is false if it still isn't: then
// nobody can say what the name stands for, as long as there is an agent that may
// yet tell.
func (r *Rack) AwaitContainer(ctx context.Context, s *index.Snapshot, w dns.ResponseWriter, req *dns.Msg) (_ *index.Snapshot, c *index.Client, known bool) {
	c = r.Client(s, w, req)
	if c.Kind() != reach.OnNetwork {
		return s, c, true
	}
	if !s.HasAgent() {
		return s, c, true
	}
	select {
	case r.clients.waiting <- struct{}{}:
		defer func() { <-r.clients.waiting }()
	default:
		return s, c, false
	}
	ctx, cancel := context.WithTimeout(ctx, containerWait)
	defer cancel()
	for c.Kind() == reach.OnNetwork {
		next, err := r.index.Await(ctx, s.Index())
		if err != nil {
			return s, c, false
		}
		s = next
		c = r.Client(s, w, req)
	}
	return s, c, true
}

// localAddrs are the addresses of this host's, or of the network namespace that
// the server is in.
type localAddrs struct {
	mu    sync.Mutex
	known []netip.Addr
	until time.Time
}

func (l *localAddrs) has(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.After(l.until) {
		l.until = now.Add(localFor)
		all, err := net.InterfaceAddrs()
		if err != nil {
			return slices.Contains(l.known, ip)
		}
		l.known = l.known[:0]
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.known = append(l.known, p.Addr().Unmap())
			}
		}
	}
	return slices.Contains(l.known, ip)
}

var errProxied = errors.New("they ask from the gateway of a Docker network that is not this server's own address: a proxy stands between, such as docker-proxy before a server in a container")

// noteHidden counts and says that some clients can't be told apart.
func (r *Rack) noteHidden(gateway netip.Addr) {
	r.counters.hidden.Inc()
	r.clients.hidden.Note("clients can't be told apart: bare names don't work for them, nor does what is not published; run this server in the host's network (docker run --network host)",
		errProxied, "gateway", gateway)
}
