package index

import "github.com/rackdns/rackdns/internal/registry"

// Port is a port of an instance.
type Port struct {
	name string
	// Container is the port that the container listens on.
	Container uint16
	// UDP tells the protocol: else it is TCP.
	UDP bool
}

// Name returns the port's name, which may be empty.
func (p *Port) Name() string { return p.name }

// PortFilter chooses ports by protocol and by name or number, as the first two
// labels of an SRV name do (RFC 2782).
type PortFilter struct {
	name   string
	number uint16
	udp    bool
	any    bool
}

// Match reports whether the filter lets p pass.
func (f PortFilter) Match(p *Port) bool { return f.match(p.Name(), p.Container, p.UDP) }

func (f PortFilter) match(name string, number uint16, udp bool) bool {
	return udp == f.udp && (f.any || f.name == name || f.number != 0 && f.number == number)
}

// Wants reports whether the question is for such a port of what was found.
func (m *Match) Wants(p *Port) bool {
	switch m.Kind {
	case Ports:
		return m.Filter.Match(p)
	case Target:
		return m.Resource.Port == 0 || m.Resource.Port == p.Container
	default:
		return true
	}
}

// WantsAny reports whether the question is for any of the endpoint's ports.
func (m *Match) WantsAny(e *Endpoint) bool {
	for n := range e.ports {
		if e.numbers[n] != 0 && m.Wants(&e.ports[n]) {
			return true
		}
	}
	return false
}

// Protocol returns "tcp" or "udp".
func (p *Port) Protocol() string {
	if p.UDP {
		return registry.UDP
	}
	return registry.TCP
}

// portNumber returns the port that s is in decimal digits, else 0.
func portNumber(s string) uint16 {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 65535 {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	if n > 65535 {
		return 0
	}
	return uint16(n)
}
