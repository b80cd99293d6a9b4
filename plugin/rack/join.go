package rack

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// answered returns the first of the addresses at which another process listens
// that shares it with us (SO_REUSEPORT), empty if there is none. Whoever doesn't
// share it leaves us nothing to wait for: to listen will fail, and say so.
func answered(addrs []string) string {
	for _, a := range addrs {
		if errors.Is(bindTo(a, false), unix.EADDRINUSE) && bindTo(a, true) == nil {
			return a
		}
	}
	return ""
}

// bindTo finds out whether an address could be bound to. The socket is TCP's and
// never listens: one of UDP would be given queries of those who listen, and so
// would one that listens.
func bindTo(address string, share bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	family, sockaddr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: number})
	if host != "" {
		ip, err := netip.ParseAddr(host)
		switch {
		case err != nil || ip.Zone() != "":
			return nil // who can't be asked about can't be joined
		case ip.Is4():
			family, sockaddr = unix.AF_INET, &unix.SockaddrInet4{Port: number, Addr: ip.As4()}
		default:
			sockaddr = &unix.SockaddrInet6{Port: number, Addr: ip.As16()}
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil && host == "" {
		// A host without IPv6, where all addresses are those of IPv4.
		sockaddr = &unix.SockaddrInet4{Port: number}
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// Connections of before, which have ended, are in nobody's way.
	option := unix.SO_REUSEADDR
	if share {
		option = unix.SO_REUSEPORT
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr)
}
