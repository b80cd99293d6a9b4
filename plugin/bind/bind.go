// Package bind is CoreDNS's plugin of that name, except that an address that this
// host doesn't have yet keeps a server from none of its others: it is joined by a
// reload when it comes.
package bind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns/coredns/plugin/pkg/log"
)

const name = "bind"

// Reload has the server read its Corefile again. It is nil where somebody else
// joins late addresses.
var Reload func() error

// interval is how often a missing address is looked for.
const interval = time.Second

// again is how often a missing address is told of.
const again = 10 * time.Minute

// listHosts returns the IP addresses that arguments stand for, each an address
// or the name of an interface.
func listHosts(args []string) ([]string, error) {
	var all []string
	for _, arg := range args {
		if _, err := netip.ParseAddr(arg); err == nil {
			all = append(all, arg)
			continue
		}
		iface, err := net.InterfaceByName(arg)
		if err != nil {
			return nil, fmt.Errorf("not a valid IP address or interface name: %q", arg)
		}
		addrs, err := iface.Addrs()
		if err != nil {
			return nil, fmt.Errorf("failed to get the IP addresses of the interface %q: %w", arg, err)
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			ip := p.Addr()
			if ip.Is6() && ip.IsLinkLocalUnicast() {
				ip = ip.WithZone(iface.Name)
			}
			all = append(all, ip.String())
		}
	}
	return all, nil
}

// isMissing reports whether this host doesn't have an address now.
func isMissing(host string) bool {
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.EADDRNOTAVAIL)
}

// late are the addresses of a server's blocks that this host doesn't have.
type late struct {
	hosts    []string
	once     sync.Once
	cancel   context.CancelFunc
	watching sync.WaitGroup
}

// partition takes a block's addresses and returns those that are there.
func (l *late) partition(hosts []string) []string {
	var there []string
	for _, h := range hosts {
		if isMissing(h) {
			l.hosts = append(l.hosts, h)
		} else {
			there = append(there, h)
		}
	}
	return there
}

// waiting says that a server was started that waits for an address.
var waiting atomic.Bool

// Wait returns at once if all addresses were there at the last start or reload,
// and else never: a server without any would end before one comes.
func Wait() {
	if waiting.Load() {
		select {}
	}
}

// wait returns when one of the addresses is there.
func (l *late) wait(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var told time.Time
	for slices.IndexFunc(l.hosts, func(h string) bool { return !isMissing(h) }) < 0 {
		if time.Since(told) >= again {
			told = time.Now()
			log.Warningf("plugin/%s: this host has no address %v: answering at the others, and joining it when it comes", name, l.hosts)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watch has the server reload when one of the addresses comes, until stop.
func (l *late) watch() {
	waiting.Store(len(l.hosts) > 0)
	if len(l.hosts) == 0 {
		return
	}
	l.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		l.cancel = cancel
		l.watching.Go(func() {
			for ctx.Err() == nil {
				l.wait(ctx)
				if ctx.Err() != nil {
					return
				}
				log.Infof("plugin/%s: an address of %v has come: reloading, to answer there too", name, l.hosts)
				if err := Reload(); err != nil {
					log.Warningf("plugin/%s: can't reload: %v", name, err)
				}
				// A reload that goes well ends this. One that fails has said why, and
				// is worth another try when its reason may be gone.
				select {
				case <-ctx.Done():
				case <-time.After(30 * interval):
				}
			}
		})
	})
}

func (l *late) stop() {
	if l.cancel != nil {
		l.cancel()
		l.watching.Wait()
	}
}
