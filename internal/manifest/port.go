package manifest

import (
	"cmp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// defaultScheme is that of a service's port.
const defaultScheme = "http"

// port reads the port that links lead to: 3000, https:3001, or a map of both.
func (r *reader) port(n *yaml.Node, path string) (*Port, error) {
	if isNull(n) {
		return nil, nil
	}
	var p Port
	if n.Kind != yaml.MappingNode {
		var err error
		if p, err = r.portText(n, path); err != nil {
			return nil, err
		}
	} else {
		keys, err := r.mapping(n, path)
		if err != nil {
			return nil, err
		}
		for _, e := range keys {
			at := below(path, e.key)
			switch e.key {
			case "port":
				scheme := p.Scheme
				p, err = r.portText(e.value, at)
				p.Scheme = cmp.Or(scheme, p.Scheme)
			case "scheme":
				p.Scheme, err = r.scheme(e.value, at)
			default:
				r.other(e, path, nil)
			}
			if err != nil {
				return nil, err
			}
		}
		if p.Number == 0 {
			return nil, r.errorf(n.Line, path, "has no port")
		}
	}
	switch {
	case p.Scheme != "":
	case p.Protocol == registry.UDP:
		p.Scheme = registry.UDP
	default:
		p.Scheme = defaultScheme
	}
	return &p, nil
}

func (r *reader) scheme(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err == nil && !schemeForm.MatchString(s) {
		err = r.errorf(n.Line, path, "%s is not the scheme of a URL, such as https", registry.Quote(s))
	}
	if err == nil {
		err = r.portName(n.Line, path, s)
	}
	return s, err
}

// portName checks a scheme that will name its port in SRV names. One with a plus
// or a dot can't, and names none.
func (r *reader) portName(line int, path, scheme string) error {
	if scheme == "" || strings.ContainsAny(scheme, "+.") {
		return nil
	}
	if err := registry.CheckPortName("scheme", scheme); err != nil {
		return r.errorf(line, path, "%s", err)
	}
	return nil
}

func (r *reader) ports(n *yaml.Node, path string) ([]Port, error) {
	items, err := r.list(n, path)
	if err != nil {
		return nil, err
	}
	var all []Port
	for _, i := range items {
		p, err := r.portText(i, path)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			if o.Number == p.Number && o.Protocol == p.Protocol {
				return nil, r.errorf(i.Line, path, "%d/%s is there twice", p.Number, p.Protocol)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// portText reads [SCHEME:]NUMBER[/PROTOCOL].
func (r *reader) portText(n *yaml.Node, path string) (Port, error) {
	s, err := r.text(n, path)
	if err != nil {
		return Port{}, err
	}
	p := Port{Protocol: registry.TCP}
	number, protocol, hasProtocol := strings.Cut(s, "/")
	if scheme, rest, ok := strings.Cut(number, ":"); ok {
		p.Scheme, number = scheme, rest
		if scheme == registry.UDP {
			p.Protocol = registry.UDP
		}
	}
	wrong := p.Scheme != "" && !schemeForm.MatchString(p.Scheme) || strings.HasPrefix(s, ":")
	if hasProtocol {
		// A scheme that is a protocol can only say the same.
		wrong = wrong || protocol != registry.TCP && protocol != registry.UDP ||
			p.Scheme == registry.UDP && protocol != p.Protocol || p.Scheme == registry.TCP && protocol != p.Protocol
		p.Protocol = protocol
	}
	value, err := strconv.ParseUint(number, 10, 16)
	if wrong || err != nil || value == 0 || strconv.FormatUint(value, 10) != number {
		return Port{}, r.errorf(n.Line, path, "%s is not a port", registry.Quote(s))
	}
	p.Number = uint16(value)
	return p, r.portName(n.Line, path, p.Scheme)
}

// allPorts puts the service's own port before its others.
func (r *reader) allPorts(s *Service, others []Port, path string) error {
	if s.Port != nil {
		s.Ports = append(s.Ports, *s.Port)
	}
	for _, p := range others {
		if s.Port == nil || p.Number != s.Port.Number || p.Protocol != s.Port.Protocol {
			s.Ports = append(s.Ports, p)
			continue
		}
		if p.Scheme != "" && p.Scheme != s.Port.Scheme {
			return r.errorf(s.Line, path+".ports", "%d is %s here, and %s as the service's port", p.Number, p.Scheme, s.Port.Scheme)
		}
	}
	return nil
}
