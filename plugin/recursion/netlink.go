package recursion

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"
)

// dockerBridge is the name of a bridge of Docker's: its default network, the
// way out of overlay networks, and each network of a user's.
var dockerBridge = regexp.MustCompile(`^(docker0|docker_gwbridge|br-[0-9a-f]{12})$`)

// interfaceNetworks reads this host's networks in one go, where the net package
// reads all addresses once per interface, of which a host has one per container.
func interfaceNetworks() ([]network, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	msgs, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	var found []network
	for n := range msgs {
		if msgs[n].Header.Type != unix.RTM_NEWADDR || len(msgs[n].Data) < unix.SizeofIfAddrmsg {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&msgs[n])
		if err != nil {
			return nil, fmt.Errorf("list this host's addresses: %w", err)
		}
		if is, ok := parseNetwork(msgs[n].Data, attrs); ok {
			found = append(found, is)
		}
	}
	return found, nil
}

// parseNetwork takes what the kernel says of one address (struct ifaddrmsg).
func parseNetwork(msg []byte, attrs []syscall.NetlinkRouteAttr) (network, bool) {
	bits, index := int(msg[1]), int(binary.NativeEndian.Uint32(msg[4:]))
	var is network
	var far netip.Addr // that of the other end, where there are just two
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_LOCAL:
			is.own, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_ADDRESS:
			far, _ = netip.AddrFromSlice(a.Value)
		}
	}
	if !is.own.IsValid() {
		is.own = far // IPv6 has only this one.
	}
	var err error
	if is.prefix, err = far.Prefix(bits); err != nil {
		return is, false
	}
	if !isPrivate(is.prefix) && !is.own.IsLoopback() {
		iface, err := net.InterfaceByIndex(index)
		is.docker = err == nil && dockerBridge.MatchString(iface.Name)
	}
	return is, true
}
