package rack

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// leaveLimit is how long a server that ends reads what it was sent before.
	leaveLimit = time.Second
	// leaveCheck is how often it looks whether that is all. A datagram that was
	// on its way when it left is there by then.
	leaveCheck = 10 * time.Millisecond
)

// leave has those who share the address of a socket (SO_REUSEPORT) get all
// queries over UDP from now on, and returns when what had come before has been
// read: what lies in a socket that is closed is lost. A socket that is connected
// is no longer one of those that share. It is connected to itself, so nobody can
// send it anything. The descriptors are closed.
func leave(sockets []int) {
	defer func() {
		for _, fd := range sockets {
			_ = unix.Close(fd)
		}
	}()
	for _, fd := range sockets {
		if to := itself(fd); to != nil {
			// Older kernels (before 5.3) go on as before, and so do we.
			_ = unix.Connect(fd, to)
		}
	}
	for end, empty := time.Now().Add(leaveLimit), 0; len(sockets) > 0 && empty < 2 && time.Now().Before(end); {
		time.Sleep(leaveCheck)
		empty++
		for _, fd := range sockets {
			if n, err := unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil && n > 0 {
				empty = 0
			}
		}
	}
}

// shared returns descriptors, to be closed, of the UDP sockets of this process
// that share one of the addresses. CoreDNS has them and gives them to nobody.
func shared(addrs []string) []int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || slices.Contains(found, n) {
			continue
		}
		// A descriptor of our own stays that of the same socket.
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if sharesOneOf(fd, addrs) {
			found = append(found, fd)
			continue
		}
		_ = unix.Close(fd)
	}
	return found
}

func sharesOneOf(fd int, addrs []string) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return false
	}
	if share, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || share == 0 {
		return false
	}
	if _, err := unix.Getpeername(fd); err == nil {
		return false
	}
	bound, ok := boundTo(fd)
	if !ok {
		return false
	}
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a)
		if err != nil || port != strconv.Itoa(int(bound.Port())) {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil && ip.WithZone("").Unmap() == bound.Addr() ||
			bound.Addr().IsUnspecified() && (host == "" || err == nil && ip.IsUnspecified()) {
			return true
		}
	}
	return false
}

// boundTo returns the local address of a socket.
func boundTo(fd int) (netip.AddrPort, bool) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// itself returns where a socket can be reached from here.
func itself(fd int) unix.Sockaddr {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		if a.Addr == [4]byte{} {
			a.Addr = [4]byte{127, 0, 0, 1}
		}
	case *unix.SockaddrInet6:
		if a.Addr == [16]byte{} {
			a.Addr = netip.IPv6Loopback().As16()
		}
	}
	return local
}
