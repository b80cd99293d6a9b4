package discovery

import (
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// register registers a host, or renews it.
func (s *service) register(w http.ResponseWriter, r *httpapi.Request) error {
	form, err := r.Form()
	if err != nil {
		return err
	}
	i, err := s.posted(r, form.Get, form.Has("auto_ip"))
	if errors.Is(err, errTags) {
		return httpapi.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
	if err != nil {
		return err
	}
	c, p, err := writable(r)
	if err != nil {
		return err
	}
	hosts := s.registrar(c)
	if isThere(p, &i) {
		renewed, err := hosts.Renew(r.Context(), i, s.TTL)
		if err != nil {
			return unwritten(err)
		}
		if renewed {
			return httpapi.WriteJSON(w, http.StatusOK, struct{}{})
		}
	}
	if err := hosts.Register(r.Context(), i, s.TTL); err != nil {
		return unwritten(err)
	}
	if err := await(r, i.App, i.Service, func(p *index.Snapshot) bool { return isThere(p, &i) }); err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, struct{}{})
}

// writable returns what writes the rack, and the rack as it is now. The error is a
// 503.
func writable(r *httpapi.Request) (*registry.Client, *index.Snapshot, error) {
	c, err := r.Rack.Registry()
	if err != nil {
		return nil, nil, err
	}
	p, err := r.Rack.Snapshot()
	return c, p, err
}

// unwritten is that the registry didn't take something, which the client can try
// again.
func unwritten(err error) error {
	return &httpapi.Error{Status: http.StatusServiceUnavailable, Sentence: err.Error(), Header: http.Header{"Retry-After": {"1"}}}
}

// posted is the instance that a form describes. The error is a 400.
func (s *service) posted(r *httpapi.Request, field func(string) string, auto bool) (i registry.Instance, err error) {
	var ip netip.Addr
	if auto {
		ip, err = s.forwarded(r)
	} else {
		ip, err = addressOf(field("ip"))
	}
	if err != nil {
		return i, err
	}
	port, err := strconv.ParseUint(field("port"), 10, 16)
	if err != nil || port == 0 {
		return i, httpapi.Errorf(http.StatusBadRequest, "port %s: want a number from 1 to 65535", httpapi.Quote(field("port")))
	}
	if field("revision") == "" {
		return i, httpapi.Errorf(http.StatusBadRequest, "revision: is missing")
	}
	if field("tags") == "" {
		return i, httpapi.Errorf(http.StatusBadRequest, "tags: are missing")
	}
	tags, weight, err := checkedTags(field("tags"))
	if err != nil {
		return i, err
	}
	app := DefaultApp
	if tags[tagApp] != "" {
		app = httpapi.Fold(tags[tagApp])
	}
	i = registry.HostInstance(app, httpapi.Fold(r.PathValue("service")), netip.AddrPortFrom(ip, uint16(port)))
	i.Release, i.Repo, i.Tags, i.Weight = field("revision"), field("service_repo_name"), tags, weight
	checked := i
	if weight == registry.KeepWeight {
		checked.Weight = registry.DefaultWeight
	}
	if err := checked.Check(); err != nil {
		return i, httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	if _, err := registry.Encode(checked); err != nil {
		return i, httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return i, nil
}

// addressOf takes an address as it is given. The error is a 400.
func addressOf(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, httpapi.Errorf(http.StatusBadRequest, "ip %s: is no address", httpapi.Quote(text))
	}
	ip = ip.Unmap()
	if err := registry.CheckAddr("ip", ip); err != nil {
		return ip, httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return ip, nil
}

// forwarded is where a client is that has a proxy say so.
func (s *service) forwarded(r *httpapi.Request) (netip.Addr, error) {
	isIn := func(all []netip.Prefix, ip netip.Addr) bool {
		return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if !isIn(s.Proxies, r.From()) {
		return netip.Addr{}, httpapi.Errorf(http.StatusBadRequest, "auto_ip: %s is no proxy that is trusted (--http-proxies)", r.From())
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	ip, err := addressOf(strings.TrimSpace(hops[len(hops)-1]))
	if err != nil {
		return ip, httpapi.Errorf(http.StatusBadRequest, "auto_ip: the last hop of X-Forwarded-For is no address")
	}
	if !isIn(s.AutoIP, ip) {
		return ip, httpapi.Errorf(http.StatusBadRequest, "auto_ip: %s is in no network where hosts may be (--auto-ip)", ip)
	}
	return ip, nil
}

// isThere reports whether a host is registered as it is to be.
func isThere(p *index.Snapshot, i *registry.Instance) bool {
	for _, o := range p.Hosts(i.Service) {
		if o.App() != i.App || o.Host() != i.Host || len(o.Ports()) == 0 || o.Ports()[0].Container != i.Ports[0].Container {
			continue
		}
		d := o.Registered()
		return d.Release == i.Release && d.Repo == i.Repo && maps.Equal(d.Tags, i.Tags) && (i.Weight == registry.KeepWeight || i.Weight == d.Weight)
	}
	return false
}

// target is a registered host that a request is about.
type target struct {
	app, service string
	at           netip.AddrPort
}

// targets are the hosts that were registered by a name, at an address if that is
// valid. A name without an app means app default, and another one only where that is
// the only one: what merely has the same name in another app is somebody else's.
func targets(p *index.Snapshot, name string, ip netip.Addr) []target {
	hosts := p.Hosts(name)
	service, app, inApp := strings.Cut(name, ".")
	if inApp {
		hosts = p.Hosts(service)
		if a := p.App(app); a != nil {
			app = a.Name
		}
	}
	var all []target
	for _, i := range hosts {
		if inApp && i.App() != app || ip.IsValid() && i.Host() != ip {
			continue
		}
		for _, port := range i.Ports()[:min(len(i.Ports()), 1)] {
			all = append(all, target{i.App(), i.Service(), netip.AddrPortFrom(i.Host(), port.Container)})
		}
	}
	if inApp || len(all) == 0 {
		return all
	}
	app = all[0].app
	for _, t := range all {
		if t.app == DefaultApp {
			app = DefaultApp
		}
	}
	own := slices.DeleteFunc(slices.Clone(all), func(t target) bool { return t.app != app })
	if app != DefaultApp && len(own) < len(all) {
		return nil
	}
	return own
}

// deregister removes a host, at all its ports.
func (s *service) deregister(w http.ResponseWriter, r *httpapi.Request) error {
	ip, err := addressOf(r.PathValue("ip"))
	if err != nil {
		return err
	}
	c, p, err := writable(r)
	if err != nil {
		return err
	}
	name := httpapi.Fold(r.PathValue("service"))
	gone := 0
	for _, t := range targets(p, name, ip) {
		switch err := c.Deregister(r.Context(), t.app, t.service, t.at); {
		case errors.Is(err, registry.ErrNotRegistered):
			continue // somebody else was faster
		case err != nil:
			return unwritten(err)
		}
		gone++
		if err := await(r, t.app, t.service, func(p *index.Snapshot) bool { return !slices.Contains(targets(p, t.service+"."+t.app, ip), t) }); err != nil {
			return err
		}
	}
	if gone == 0 {
		return httpapi.Errorf(http.StatusBadRequest, "no host of service %s is registered at %s, or several apps have one: then SERVICE.APP says which", httpapi.Quote(name), ip)
	}
	return httpapi.WriteJSON(w, http.StatusOK, struct{}{})
}

// weigh gives a host, or all of a service, another weight.
func (s *service) weigh(w http.ResponseWriter, r *httpapi.Request) error {
	form, err := r.Form()
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnsupportedMediaType {
		err, form = nil, nil // as if there were no parameters
	}
	if err != nil {
		return err
	}
	text := form.Get(tagWeight)
	if text == "" {
		return httpapi.Errorf(http.StatusBadRequest, "Required parameter 'weight' is missing.")
	}
	weight, err := parseWeight(text)
	if err != nil {
		return err
	}
	c, p, err := writable(r)
	if err != nil {
		return err
	}
	var ip netip.Addr
	if text := r.PathValue("ip"); text != "" {
		if ip, err = netip.ParseAddr(text); err != nil {
			return errNoHost
		}
		ip = ip.Unmap()
	}
	set := 0
	for _, t := range targets(p, httpapi.Fold(r.PathValue("service")), ip) {
		switch err := c.SetHostWeight(r.Context(), t.app, t.service, t.at, weight); {
		case errors.Is(err, registry.ErrNotRegistered):
			continue
		case err != nil:
			return unwritten(err)
		}
		set++
		if err := await(r, t.app, t.service, func(p *index.Snapshot) bool { return weightOf(p, t) == weight }); err != nil {
			return err
		}
	}
	if set == 0 {
		return errNoHost
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var errNoHost = httpapi.Errorf(http.StatusNotFound, "Host not found")

// weightOf is the weight of a host, negative if it isn't there.
func weightOf(p *index.Snapshot, t target) int {
	for _, i := range p.Hosts(t.service) {
		if i.App() == t.app && i.Host() == t.at.Addr() && len(i.Ports()) > 0 && i.Ports()[0].Container == t.at.Port() {
			return int(i.Weight())
		}
	}
	return -1
}
