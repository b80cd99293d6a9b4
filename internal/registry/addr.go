package registry

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxHost is the longest host name in octets, without the dot at its end (RFC
// 1035, section 2.3.4, less the octets that only the wire has).
const maxHost = 253

// CheckAddr refuses every address that would send a client to itself or to
// nobody: DNS is no way to reach another host's loopback. That includes IPv6
// addresses that a translator would make such an IPv4 address of.
func CheckAddr(what string, a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("%s: is empty", what)
	}
	why := badAddr(a)
	if why == "" {
		if v4, by := embeddedIPv4(a); v4.IsValid() {
			if inner := badAddr(v4); inner != "" {
				why = fmt.Sprintf("stands for %s (%s), which %s", v4, by, inner)
			}
		}
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s %s: %s", what, a, why)
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
)

func badAddr(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "has a zone"
	case a.Is4In6():
		return "is an IPv4-mapped IPv6 address"
	case a.IsUnspecified():
		return "is unspecified"
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsMulticast():
		return "is a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address"
	case thisNetwork.Contains(a):
		return "is in 0.0.0.0/8, which no host has (RFC 1122)"
	case reserved.Contains(a):
		return "is in 240.0.0.0/4, which is reserved (RFC 1112)"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "is link-local and means nothing without a zone"
	}
	return ""
}

// embeddings are the IPv6 prefixes whose addresses hold an IPv4 address, and at
// which octet.
var embeddings = []struct {
	prefix netip.Prefix
	at     int
	by     string
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12, "RFC 6052"},
	{netip.MustParsePrefix("2002::/16"), 2, "6to4, RFC 3056"},
	{netip.MustParsePrefix("::/96"), 12, "IPv4-compatible, RFC 4291"},
}

// embeddedIPv4 returns the IPv4 address in an IPv6 one, and the document that
// says so; an invalid one if there is none.
func embeddedIPv4(a netip.Addr) (v4 netip.Addr, by string) {
	if !a.Is6() {
		return netip.Addr{}, ""
	}
	for _, e := range embeddings {
		if e.prefix.Contains(a) {
			octets := a.As16()
			return netip.AddrFrom4([4]byte(octets[e.at : e.at+4])), e.by
		}
	}
	return netip.Addr{}, ""
}

// CheckHost returns an error unless host is an address that [CheckAddr] takes,
// or a name that DNS can lead to: 253 octets at most, of labels of letters,
// digits, dashes and, since outside names have them, underscores.
func CheckHost(what, host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return CheckAddr(what, a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	fail := func(why string) error { return fmt.Errorf("%s %s: %s", what, Quote(host), why) }
	switch {
	case name == "":
		return fmt.Errorf("%s: is empty", what)
	case strings.Contains(name, "://"):
		return fail("is a URL; want its host alone")
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return fail("is whoever asks")
	case len(name) > maxHost:
		return fail(fmt.Sprintf("is longer than %d characters", maxHost))
	}
	if _, err := netip.ParseAddrPort(host); err == nil {
		return fail("is an address with a port; the port has a field of its own")
	}
	last := ""
	for last = range strings.SplitSeq(name, ".") {
		switch {
		case last == "":
			return fail("has an empty label")
		case !IsLabel(strings.ReplaceAll(last, "_", "x")):
			return fail("is neither an address nor a host name")
		}
	}
	// No top-level domain is a number (RFC 3696, section 2): this was to be an
	// address. A single label of digits may be the ID of a container.
	if last != name && strings.Trim(last, "0123456789") == "" {
		return fail("is no IP address")
	}
	return nil
}
