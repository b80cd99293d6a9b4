package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// socket is one at which a program of this host waits to be asked.
type socket struct {
	addr  netip.AddrPort
	inode string
	// pid and program are who has it: 0 and empty if that can't be known, such as
	// of another user's without root.
	pid     int
	program string
}

// owner is who has the socket, in words.
func (s *socket) owner() string {
	if s.pid == 0 {
		return "another program (root is told which one)"
	}
	return fmt.Sprintf("%s (pid %d)", s.program, s.pid)
}

// reached is an address by which this host reaches the socket.
func (s *socket) reached() netip.AddrPort {
	switch {
	case !s.addr.Addr().IsUnspecified():
		return s.addr
	case s.addr.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.addr.Port())
	}
	// A socket of IPv6 is one of IPv4 too, as a rule.
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.addr.Port())
}

// covers reports whether who asks at an address asks the socket.
func (s *socket) covers(at netip.AddrPort) bool {
	return s.addr == at || s.addr.Port() == at.Port() && s.addr.Addr().IsUnspecified() && (s.addr.Addr().Is6() || at.Addr().Is4())
}

// listening returns the sockets of this network namespace at which somebody
// waits, by "udp" or "tcp" (proc(5)).
func listening(network string) []socket {
	var all []socket
	for _, file := range []string{network, network + "6"} {
		text, err := os.ReadFile("/proc/net/" + file)
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(text)) {
			if s, ok := parseSocket(strings.Fields(line), network); ok {
				all = append(all, s)
			}
		}
	}
	identify(all)
	return all
}

// States of sockets (net/tcp_states.h).
const (
	stateListen = "0A"
	stateClosed = "07"
)

// parseSocket reads a line of /proc/net/udp and the like. It returns false for one
// at which nobody waits.
func parseSocket(fields []string, network string) (s socket, ok bool) {
	const local, remote, state, inode = 1, 2, 3, 9
	if len(fields) <= inode || !strings.HasSuffix(fields[remote], ":0000") {
		return s, false
	}
	if network == "tcp" && fields[state] != stateListen || network == "udp" && fields[state] != stateClosed {
		return s, false
	}
	s.addr, ok = parseAddr(fields[local])
	s.inode = fields[inode]
	return s, ok
}

// parseAddr reads an address as the kernel writes it: words of 32 bits in the
// order of the machine's bytes.
func parseAddr(text string) (a netip.AddrPort, ok bool) {
	addr, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(addr)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return a, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// identify finds out whose the sockets are, as far as we may look.
func identify(all []socket) {
	by := map[string][]*socket{}
	for n := range all {
		by["socket:["+all[n].inode+"]"] = append(by["socket:["+all[n].inode+"]"], &all[n])
	}
	own, _ := os.Executable() // without it the name tells
	fds, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return
	}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || by[to] == nil {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue // it has just ended
		}
		program := strings.TrimSpace(string(comm))
		if exe, err := os.Readlink(filepath.Join(process, "exe")); err == nil && strings.TrimSuffix(exe, " (deleted)") == own {
			program = ourProgram // whatever its file is called
		}
		for _, s := range by[to] {
			s.pid, s.program = pid, program
		}
	}
}
