package manifest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/near"
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
		err := r.fields(n, path, "services.*.port", reading{
			"port": func(e entry, at string) (err error) {
				scheme := p.Scheme
				p, err = r.portText(e.value, at)
				p.Scheme = cmp.Or(scheme, p.Scheme)
				return err
			},
			"scheme": func(e entry, at string) (err error) { p.Scheme, err = r.scheme(e.value, at); return },
		})
		if err != nil {
			return nil, err
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

// morePorts reads ports besides the one that links lead to.
func (f *serviceFields) morePorts(n *yaml.Node, path string) error {
	items, err := f.list(n, path)
	if err != nil {
		return err
	}
	for _, i := range items {
		p, err := f.onePort(i, path)
		if err != nil {
			return err
		}
		for _, o := range f.ports {
			if o.Number == p.Number && o.Protocol == p.Protocol {
				return f.errorf(i.Line, path, "%d/%s is there twice", p.Number, p.Protocol)
			}
		}
		f.ports = append(f.ports, p)
	}
	return nil
}

func (r *reader) onePort(n *yaml.Node, path string) (Port, error) {
	if n.Kind != yaml.MappingNode {
		return r.portText(n, path)
	}
	var p Port
	protocol := ""
	err := r.fields(n, path, "services.*.ports", reading{
		"port": func(e entry, at string) (err error) { p, err = r.portText(e.value, at); return },
		"protocol": func(e entry, at string) (err error) {
			if protocol, err = r.text(e.value, at); err == nil {
				protocol = strings.ToLower(protocol)
				err = r.protocol(e.line, at, protocol)
			}
			return err
		},
	})
	if err == nil && p.Number == 0 {
		err = r.errorf(n.Line, path, "has no port")
	}
	p.Protocol = cmp.Or(protocol, p.Protocol)
	return p, err
}

// agent reads whether there is one instance on each host, and its ports.
func (f *serviceFields) agent(n *yaml.Node, path string) (err error) {
	if n.Kind != yaml.MappingNode {
		f.Agent, err = f.yes(n, path)
		return err
	}
	f.Agent = true
	return f.fields(n, path, "services.*.agent", reading{
		"enabled": func(e entry, at string) (err error) { f.Agent, err = f.yes(e.value, at); return },
		"ports":   func(e entry, at string) error { return f.morePorts(e.value, at) },
	})
}

// protocols are those that a port can have.
var protocols = []string{registry.TCP, registry.UDP}

func (r *reader) protocol(line int, path, protocol string) error {
	if slices.Contains(protocols, protocol) {
		return nil
	}
	if meant := near.Name(protocol, protocols); meant != "" {
		return r.errorf(line, path, "%s is not a protocol; did you mean %s?", registry.Quote(protocol), meant)
	}
	return r.errorf(line, path, "%s is not a protocol; want tcp or udp", registry.Quote(protocol))
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
	if hasProtocol && !wrong && number != "" {
		if err := r.protocol(n.Line, path, protocol); err != nil {
			return Port{}, err
		}
		// A scheme that is a protocol can only say the same.
		wrong = p.Scheme == registry.UDP && protocol != p.Protocol || p.Scheme == registry.TCP && protocol != p.Protocol
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
