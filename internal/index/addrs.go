package index

import "net/netip"

// Addrs is an address of each family, in the form in which DNS wants them.
type Addrs struct {
	v4         [4]byte
	v6         [16]byte
	has4, has6 bool
}

// V4 returns the IPv4 address, nil if there is none. The caller must not
// change it.
func (a *Addrs) V4() []byte {
	if !a.has4 {
		return nil
	}
	return a.v4[:]
}

// V6 is V4 for IPv6.
func (a *Addrs) V6() []byte {
	if !a.has6 {
		return nil
	}
	return a.v6[:]
}

func (a *Addrs) add(ip netip.Addr) {
	switch {
	case ip.Is4():
		a.v4, a.has4 = ip.As4(), true
	case ip.Is6():
		a.v6, a.has6 = ip.As16(), true
	}
}

// each calls f for every address there is.
func (a *Addrs) each(f func(netip.Addr)) {
	if a.has4 {
		f(netip.AddrFrom4(a.v4))
	}
	if a.has6 {
		f(netip.AddrFrom16(a.v6))
	}
}

// All returns the addresses there are, IPv4 first.
func (a *Addrs) All() []netip.Addr {
	var all []netip.Addr
	a.each(func(ip netip.Addr) { all = append(all, ip) })
	return all
}
