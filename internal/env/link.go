package env

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/manifest"
)

// What follows the name of a service in the variables of a link to it, in full
// style.
const (
	suffixURL      = "_URL"
	suffixScheme   = "_SCHEME"
	suffixHost     = "_HOST"
	suffixPort     = "_PORT"
	suffixPath     = "_PATH"
	suffixUsername = "_USERNAME"
	suffixPassword = "_PASSWORD"
)

// What a service says, by variables of its own, of links to it in full style.
const (
	linkScheme   = "LINK_SCHEME"
	linkUsername = "LINK_USERNAME"
	linkPassword = "LINK_PASSWORD"
	linkPort     = "LINK_PORT"
	linkPath     = "LINK_PATH"
)

// A scheme that nobody has named.
const (
	defaultScheme     = "http"
	defaultSchemeFull = "tcp"
)

// loopback is where the connect proxy of a container listens.
const loopback = "127.0.0.1"

// defaultPorts are those that a URL of a scheme goes without.
var defaultPorts = map[string]uint16{
	"ftp": 21, "ftps": 990, "http": 80, "https": 443, "ldap": 389, "ldaps": 636,
	"sftp": 22, "ssh": 22, "telnet": 23, "ws": 80, "wss": 443,
}

// address is what a link leads to.
type address struct {
	scheme, host, path, username, password string
	port                                   uint16
}

// url has no slash at its end, and no port where the scheme has it.
func (a *address) url() string {
	host := a.host
	if defaultPorts[a.scheme] != a.port {
		host = net.JoinHostPort(host, strconv.Itoa(int(a.port)))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	user := ""
	if a.username != "" || a.password != "" {
		info := url.User(a.username)
		if a.password != "" {
			info = url.UserPassword(a.username, a.password)
		}
		user = info.String() + "@"
	}
	return a.scheme + "://" + user + host + strings.TrimRight((&url.URL{Path: a.path}).EscapedPath(), "/")
}

// take makes the address that of a URL: of one that can't be taken apart nothing
// is known.
func (a *address) take(at string) {
	*a = address{}
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" {
		return
	}
	*a = address{scheme: u.Scheme, host: u.Hostname(), path: u.Path, username: u.User.Username(), port: defaultPorts[u.Scheme]}
	a.password, _ = u.User.Password()
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		a.port = uint16(port)
	}
}

// portText is empty for a port that nobody knows: that of a user's URL with a
// scheme of its own.
func (a *address) portText() string {
	if a.port == 0 {
		return ""
	}
	return strconv.Itoa(int(a.port))
}

// link gives the variables of a link.
func (w *work) link(name string) error {
	target := w.lookup(name)
	if target == nil {
		return fmt.Errorf("service %s links to a service that does not exist: %s", w.Service, name)
	}
	a, err := w.target(target)
	if err != nil {
		return err
	}
	prefix := manifest.VariableOf(name)
	// Where the user says where the service is, nobody else is asked.
	if user, ok := w.user[prefix+suffixURL]; ok {
		a.take(user)
	} else if err := w.route(&a, name); err != nil {
		return fmt.Errorf("service %s, link %s: %w", w.Service, name, err)
	}
	by := "link " + name
	values := [][2]string{{suffixURL, a.url()}}
	if w.Style == StyleFull {
		values = append(values, [][2]string{
			{suffixScheme, a.scheme},
			{suffixHost, a.host},
			{suffixPort, a.portText()},
			{suffixPath, a.path},
			{suffixUsername, a.username},
			{suffixPassword, a.password},
		}...)
	}
	for _, v := range values {
		if err := w.give(prefix+v[0], v[1], by); err != nil {
			return err
		}
	}
	return nil
}

// target returns the address of a service by its name in DNS.
func (in *Input) target(s *Service) (address, error) {
	a := address{scheme: cmp.Or(s.Scheme, defaultScheme), host: in.HostOf(s.Name), port: s.Port}
	if in.Style == StyleFull {
		says := in.listedBy(s)
		a.scheme = cmp.Or(says[linkScheme], s.Scheme, defaultSchemeFull)
		a.username, a.password, a.path = says[linkUsername], says[linkPassword], says[linkPath]
		if a.path != "" && !strings.HasPrefix(a.path, "/") {
			a.path = "/" + a.path
		}
		if p := says[linkPort]; p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return a, fmt.Errorf("service %s: %s is not a port", s.Name, linkPort)
			}
			a.port = uint16(n)
		}
	}
	if a.port == 0 {
		return a, fmt.Errorf("service %s links to a service without a port: %s", in.Service, s.Name)
	}
	return a, nil
}

// route puts in the place of the name in DNS what else was asked for.
func (in *Input) route(a *address, service string) error {
	switch in.Via {
	case ViaHost:
		if in.Endpoint == nil {
			return &WayError{errors.New("there is no registry to say where its instances are")}
		}
		at, err := in.Endpoint(service)
		if err != nil {
			return &WayError{err}
		}
		a.host, a.port = at.Addr().String(), at.Port()
	case ViaConnect:
		port, ok := uint16(0), false
		if in.Connect != nil {
			port, ok = in.Connect(service)
		}
		if !ok {
			return &WayError{fmt.Errorf("no port of its loopback leads there; give its containers a label connect.<port>=%s", service)}
		}
		a.host, a.port = loopback, port
	case ViaDNS:
	}
	return nil
}

// HostOf returns the name of a service in DNS.
func (in *Input) HostOf(service string) string { return service + "." + in.App + "." + in.zone() }

// HostOfResource returns the name of a resource in DNS.
func (in *Input) HostOfResource(r *Resource) string {
	if r.OfRack {
		return r.Name + ".resource." + in.zone()
	}
	return r.Name + ".resource." + in.App + "." + in.zone()
}

func (in *Input) zone() string {
	return in.Rack + "." + strings.ToLower(strings.Trim(in.Suffix, "."))
}
