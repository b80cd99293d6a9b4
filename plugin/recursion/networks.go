package recursion

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rackdns/rackdns/internal/hostnet"
)

// private are the ranges that the Internet doesn't route: who has an address in
// one of them and in a network of this host is a neighbour. In a network of
// public addresses the neighbours are strangers, as a cloud's other tenants are.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),     // RFC 1918
	netip.MustParsePrefix("172.16.0.0/12"),  // RFC 1918
	netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598, which overlay networks use too
	netip.MustParsePrefix("169.254.0.0/16"), // RFC 3927
	netip.MustParsePrefix("198.18.0.0/15"),  // RFC 2544
	netip.MustParsePrefix("fc00::/7"),       // RFC 4193
	netip.MustParsePrefix("fe80::/10"),      // RFC 4291
}

// network is one that an interface of this host has an address in.
type network struct {
	// own is the host's address.
	own    netip.Addr
	prefix netip.Prefix
	// docker says that the interface is a bridge of Docker's.
	docker bool
}

// rereadAfter is how old the picture has to be for an unknown client to have
// the interfaces read again.
const rereadAfter = time.Second

// networks are those of this host as they are now. Docker makes and removes
// them all the time, so they are read again when the kernel tells of a change,
// and, since it may not be asked everywhere, when a client is in none.
type networks struct {
	read func() ([]network, error)
	// set is never changed, but replaced.
	set atomic.Pointer[[]netip.Prefix]

	mu      sync.Mutex // one reader at a time
	readAt  time.Time
	changes *hostnet.Changes
	done    chan struct{} // closed when nobody listens to changes any more
}

func newNetworks(read func() ([]network, error)) *networks { return &networks{read: read} }

// start reads the networks and follows their changes until stop.
func (n *networks) start() error {
	// This comes first, so that no change falls between the two.
	if c, err := hostnet.Open(hostnet.Addresses); err != nil {
		log.Warningf("not told when this host's networks change, so that a new one may take %v to be known: %v", rereadAfter, err)
	} else {
		n.changes, n.done = c, make(chan struct{})
		go func() {
			defer close(n.done)
			failed := false
			for c.Wait() == nil {
				err := n.reread(0)
				if err != nil && !failed {
					log.Warningf("the networks that names are looked up for may be out of date: %v", err)
				}
				failed = err != nil
			}
		}()
	}
	if err := n.reread(0); err != nil {
		return fmt.Errorf("plugin/%s: %w", name, err)
	}
	return nil
}

// stop ends what start began.
func (n *networks) stop() error {
	if n.changes == nil {
		return nil
	}
	err := n.changes.Close()
	<-n.done
	n.changes = nil
	return err
}

// contain reports whether an address is one of this host or of a client in one
// of its networks.
func (n *networks) contain(ip netip.Addr) bool {
	if ip.IsLoopback() || contains(n.set.Load(), ip) {
		return true
	}
	// Failing is for others to tell: this would be a line per question.
	return ip.IsValid() && n.reread(rereadAfter) == nil && contains(n.set.Load(), ip)
}

func contains(set *[]netip.Prefix, ip netip.Addr) bool {
	if set == nil {
		return false
	}
	for _, p := range *set {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// reread reads the networks, unless that was done less than some time ago.
func (n *networks) reread(after time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if after > 0 && time.Since(n.readAt) < after {
		return nil
	}
	found, err := n.read()
	n.readAt = time.Now()
	if err != nil {
		return err
	}
	set := served(found)
	n.set.Store(&set)
	return nil
}

// served returns what a host on these networks serves, each once: of hundreds
// of containers' interfaces each has a link-local address.
func served(found []network) []netip.Prefix {
	var set []netip.Prefix
	for _, n := range found {
		if n.docker || isPrivate(n.prefix) {
			set = append(set, n.prefix)
		}
		// The host itself, by whatever address.
		set = append(set, netip.PrefixFrom(n.own, n.own.BitLen()))
	}
	slices.SortFunc(set, netip.Prefix.Compare)
	set = slices.Compact(set)
	// What a wider network holds needs no entry of its own; it sorts behind.
	kept := set[:0]
	for _, p := range set {
		if len(kept) == 0 || !kept[len(kept)-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}

func isPrivate(network netip.Prefix) bool {
	for _, p := range private {
		if p.Contains(network.Addr()) && p.Bits() <= network.Bits() {
			return true
		}
	}
	return false
}
