package httpguard

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AnyHost among the names of Hosts makes all names ours.
const AnyHost = "any"

// Hosts are the names and addresses by which a server may be asked: localhost,
// this machine's name and addresses, and what was configured. The port is left
// out of account, since it may have been forwarded.
type Hosts struct {
	flag  string
	names map[string]bool
	any   bool

	own ownAddrs
}

// NewHosts returns the Hosts of this machine with further names or addresses,
// which came from a flag of that name. An error names the wrong one.
func NewHosts(flag string, further ...string) (*Hosts, error) {
	h := &Hosts{flag: flag, names: map[string]bool{"localhost": true}}
	if name, err := os.Hostname(); err == nil {
		h.add(name)
	}
	for _, f := range further {
		if f == AnyHost {
			h.any = true
			continue
		}
		if _, err := netip.ParseAddr(f); err != nil && !isName(f) {
			return nil, fmt.Errorf("%q is neither a host name nor an IP address, without a port, nor %q", f, AnyHost)
		}
		h.add(f)
	}
	return h, nil
}

func (h *Hosts) add(name string) {
	if ip, err := netip.ParseAddr(name); err == nil {
		name = ip.Unmap().String()
	}
	h.names[fold(name)] = true
}

// fold puts names that mean the same into the same form.
func fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isName reports whether a name can be a host's.
func isName(name string) bool {
	name = fold(name)
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// Ours reports whether the Host of a request, with or without a port, is a name
// of ours.
func (h *Hosts) Ours(ctx context.Context, host string) bool {
	name, ok := withoutPort(host)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		// A number that only some programs take for an address, such as 127.1
		// or 0x7f000001, is a name here, and not one of ours.
		return isName(name) && (h.any || h.names[fold(name)])
	}
	ip = ip.Unmap().WithZone("")
	return h.any || ip.IsLoopback() || h.names[ip.String()] || ip == localAddr(ctx) || h.own.contain(ip)
}

// Own reports whether an address is one of this machine's.
func (h *Hosts) Own(ip netip.Addr) bool { return ip.IsLoopback() || h.own.contain(ip) }

// withoutPort splits the port off a Host header (RFC 9110, section 7.2).
func withoutPort(host string) (string, bool) {
	name, port := host, ""
	bracket := strings.LastIndexByte(host, ']')
	if colon := strings.LastIndexByte(host, ':'); colon > bracket {
		name, port = host[:colon], host[colon+1:]
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return "", false
		}
	}
	if inside, ok := strings.CutPrefix(name, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		// What is in brackets is an IPv6 address.
		return inside, ok && strings.Contains(inside, ":")
	}
	return name, name != "" && !strings.Contains(name, ":")
}

// localAddr is the address at which the client reached us.
func localAddr(ctx context.Context) netip.Addr {
	tcp, ok := ctx.Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// ownAddrs are this machine's addresses. They come and go, so an unknown one has
// them read again, at most once a second.
type ownAddrs struct {
	mu     sync.Mutex
	addrs  map[netip.Addr]bool
	readAt time.Time
}

func (o *ownAddrs) contain(ip netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.addrs[ip] && time.Since(o.readAt) >= time.Second {
		o.read()
	}
	return o.addrs[ip]
}

// read keeps what was known if nothing is found out.
func (o *ownAddrs) read() {
	o.readAt = time.Now()
	found, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	o.addrs = map[netip.Addr]bool{}
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.addrs[p.Addr().Unmap()] = true
		}
	}
}
