// Package discovery is the interface of Lyft's discovery service: hosts that no
// agent watches register themselves, and Envoy, in its first version of discovery,
// reads where a service is. What it tells of containers is where the client that
// asks reaches them.
package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Options are what the original takes from its environment.
type Options struct {
	// TTL is how long a host stays that isn't heard of, registry.HostTTL if 0.
	TTL time.Duration
	// Environment is what answers call env, "development" if empty.
	Environment string
	// Proxies are those whose X-Forwarded-For says where a host is that asks for
	// auto_ip, this host's own if empty; AutoIP are the networks in which it may
	// be, 192.168.0.0/16 if empty.
	Proxies, AutoIP []netip.Prefix
}

// DefaultEnvironment is what answers call env unless told otherwise.
const DefaultEnvironment = "development"

// DefaultProxies and DefaultAutoIP are those of [Options].
var (
	DefaultProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	DefaultAutoIP  = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}
)

// DefaultApp is the app of a host whose tags name none.
const DefaultApp = "default"

// freshness is how old last_check_in may be.
const freshness = time.Second

// service is what the routes share.
type service struct {
	Options

	// answers are those about a service. They last for a moment only: a renewal moves
	// last_check_in, and nothing else.
	answers httpapi.Cache[question]

	mu sync.Mutex
	// hosts register hosts, by the client that does it.
	hosts map[*registry.Client]*registry.Hosts
}

// Family returns the routes.
func Family(o Options) httpapi.Family {
	if o.TTL == 0 {
		o.TTL = registry.HostTTL
	}
	if o.Environment == "" {
		o.Environment = DefaultEnvironment
	}
	if len(o.Proxies) == 0 {
		o.Proxies = DefaultProxies
	}
	if len(o.AutoIP) == 0 {
		o.AutoIP = DefaultAutoIP
	}
	s := &service{Options: o, answers: httpapi.Cache[question]{Lasts: freshness}, hosts: map[*registry.Client]*registry.Hosts{}}
	return httpapi.Family{Name: "discovery", Routes: []httpapi.Route{
		{Pattern: "GET /v1/registration/{service}", Right: httpapi.ReadNames, Handler: s.ofService},
		{Pattern: "GET /v1/registration/repo/{repo}", Right: httpapi.ReadNames, Handler: s.ofRepo},
		{Pattern: "POST /v1/registration/{service}", Right: httpapi.Write, Handler: silent(s.register)},
		{Pattern: "DELETE /v1/registration/{service}/{ip}", Right: httpapi.Write, Handler: silent(s.deregister)},
		{Pattern: "POST /v1/loadbalancing/{service}", Right: httpapi.Write, Handler: s.weigh},
		{Pattern: "POST /v1/loadbalancing/{service}/{ip}", Right: httpapi.Write, Handler: s.weigh},
	}}
}

// ReasonHeader says why a request was refused whose answer has no place for it.
const ReasonHeader = "Rackdns-Error"

// silent has bad input refused as the original does: with 400 and an empty object.
// The sentence is in a header.
func silent(h httpapi.Handler) httpapi.Handler {
	return func(w http.ResponseWriter, r *httpapi.Request) error {
		err := h(w, r)
		var e *httpapi.Error
		if errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnsupportedMediaType) {
			w.Header().Set(ReasonHeader, e.Sentence)
			return httpapi.WriteJSON(w, http.StatusBadRequest, struct{}{})
		}
		return err
	}
}

// Host is where an instance of a service is.
type Host struct {
	Service     string         `json:"service"`
	IPAddress   netip.Addr     `json:"ip_address"`
	Repo        string         `json:"service_repo_name"`
	Port        uint16         `json:"port"`
	Revision    string         `json:"revision"`
	LastCheckIn string         `json:"last_check_in"`
	Tags        map[string]any `json:"tags"`
}

// checkInLayout is how the original writes times, in UTC.
const checkInLayout = "2006-01-02 15:04:05.000000"

func (s *service) ofService(w http.ResponseWriter, r *httpapi.Request) error {
	p, err := r.Rack.Snapshot()
	if err != nil {
		return err
	}
	name := httpapi.Fold(r.PathValue("service"))
	chosen := chosenBy(p, name)
	key := question{r.Rack, r.PathValue("service"), r.Client(p).Class()}
	if len(chosen) > 1 {
		// Of several apps: that is rare, and not known by one service.
		return httpapi.WriteJSON(w, http.StatusOK, s.answer(r, p, chosen))
	}
	// A service that is otherwise is another one.
	is := p.Lookup(chosen[0].service+"."+chosen[0].app, index.Stranger()).Service
	return s.answers.Answer(w, key, is, func() (any, error) { return s.answer(r, p, chosen), nil })
}

// question tells those apart that get different answers.
type question struct {
	rack           *httpapi.Rack
	service, class string
}

// ofService is an answer about a service.
type ofService struct {
	Environment string `json:"env"`
	Hosts       []Host `json:"hosts"`
	Service     string `json:"service"`
}

func (s *service) answer(r *httpapi.Request, p *index.Snapshot, chosen []choice) ofService {
	return ofService{s.Environment, s.list(r, p, chosen), r.PathValue("service")}
}

func (s *service) ofRepo(w http.ResponseWriter, r *httpapi.Request) error {
	p, err := r.Rack.Snapshot()
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, struct {
		Environment string `json:"env"`
		Hosts       []Host `json:"hosts"`
		Repo        string `json:"service_repo_name"`
	}{s.Environment, s.list(r, p, inApps(p.RepoHosts(r.PathValue("repo")))), r.PathValue("repo")})
}

// choice is a service, and which of its instances are meant: all, if there are none.
type choice struct {
	app, service string
	instances    []*index.Instance
}

// chosenBy returns whose instances a name means: those of the service of app
// default, and all hosts that were registered by it, whatever their app. A name
// with a dot is that of a service in an app, as in DNS.
func chosenBy(p *index.Snapshot, name string) []choice {
	if m := p.Lookup(name, index.Stranger()); m.Kind == index.AService {
		return []choice{{app: m.Service.App(), service: m.Service.Name()}}
	}
	all := slices.DeleteFunc(inApps(p.Hosts(name)), func(c choice) bool { return c.app == DefaultApp })
	return append(all, choice{app: DefaultApp, service: name})
}

// inApps sorts hosts by their services.
func inApps(hosts []*index.Instance) []choice {
	var all []choice
	for _, i := range hosts {
		at := slices.IndexFunc(all, func(c choice) bool { return c.app == i.App() && c.service == i.Service() })
		if at < 0 {
			at, all = len(all), append(all, choice{app: i.App(), service: i.Service()})
		}
		all[at].instances = append(all[at].instances, i)
	}
	return all
}

// list returns where the client reaches what was chosen, by address and port.
func (s *service) list(r *httpapi.Request, p *index.Snapshot, chosen []choice) []Host {
	all, client := []Host{}, r.Client(p)
	for _, c := range chosen {
		m := p.Lookup(c.service+"."+c.app, client)
		if m.Kind != index.AService {
			continue
		}
		for n := range m.Endpoints {
			e := &m.Endpoints[n]
			if e.Label() != "" || c.instances != nil && !slices.Contains(c.instances, e.Instance) {
				continue // another address of one that is there, or one that isn't meant
			}
			if h, ok := s.host(r, e); ok {
				all = append(all, h)
			}
		}
	}
	slices.SortFunc(all, func(x, y Host) int {
		return netip.AddrPortFrom(x.IPAddress, x.Port).Compare(netip.AddrPortFrom(y.IPAddress, y.Port))
	})
	return all
}

// host is how the client reaches an instance: at its lowest TCP port. It returns
// false for one that has none.
func (s *service) host(r *httpapi.Request, e *index.Endpoint) (h Host, ok bool) {
	ports, addrs := e.Ports(), e.All()
	var container uint16
	for n := range ports {
		p := &ports[n]
		if number := e.Number(p); number != 0 && !p.UDP && (container == 0 || p.Container < container) {
			container, h.Port = p.Container, number
		}
	}
	if container == 0 || len(addrs) == 0 {
		return h, false
	}
	d := e.Details()
	h.Service, h.IPAddress, h.Repo, h.Revision = e.Service(), addrs[0], e.Repo(), d.Release
	seen := d.Observed
	if e.Node() == registry.NodeAPI {
		if at := s.seen(r, e.Instance); at.After(seen) {
			seen = at
		}
	}
	h.LastCheckIn = seen.UTC().Format(checkInLayout)
	h.Tags = shownTags(e.ID(), d.Tags, e.Weight())
	return h, true
}

// seen is when a host was heard of here.
func (s *service) seen(r *httpapi.Request, i *index.Instance) time.Time {
	c, err := r.Rack.Registry()
	if err != nil || len(i.Ports()) == 0 {
		return time.Time{}
	}
	return s.registrar(c).Seen(i.App(), i.Service(), netip.AddrPortFrom(i.Host(), i.Ports()[0].Container))
}

// registrar is what registers hosts by a client.
func (s *service) registrar(c *registry.Client) *registry.Hosts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[c] == nil {
		s.hosts[c] = registry.NewHosts(c)
	}
	return s.hosts[c]
}

// The tags that Envoy knows.
const (
	tagZone     = "az"
	tagRegion   = "region"
	tagInstance = "instance_id"
	tagCanary   = "canary"
	tagWeight   = "load_balancing_weight"
	tagApp      = "app"
)

// shownTags are tags as Envoy takes them: it rejects a whole service for one that
// is of another kind.
func shownTags(id string, tags map[string]string, weight uint16) map[string]any {
	all := map[string]any{tagZone: "", tagRegion: "", tagInstance: id}
	for k, v := range tags {
		all[k] = v
	}
	if canary, ok := tags[tagCanary]; ok {
		yes, err := strconv.ParseBool(canary)
		all[tagCanary] = err == nil && yes
	}
	all[tagWeight] = int(weight)
	return all
}

// checkedTags takes tags as they are posted. The error is a sentence of a 400.
func checkedTags(text string) (tags map[string]string, weight int, err error) {
	var posted map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&posted) != nil || d.More() {
		return nil, 0, errTags
	}
	tags, weight = map[string]string{}, registry.KeepWeight
	for name, v := range posted {
		if name == "" {
			return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: one has no name")
		}
		switch v := v.(type) {
		case bool:
			if name != tagCanary {
				return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: %s is a boolean: want a string", httpapi.Quote(name))
			}
			tags[name] = strconv.FormatBool(v)
		case json.Number:
			if name != tagWeight {
				return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: %s is a number: want a string", httpapi.Quote(name))
			}
			if weight, err = parseWeight(v.String()); err != nil {
				return nil, 0, err
			}
		case string:
			if name == tagCanary || name == tagWeight {
				return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: %s is a string: want a boolean for canary, and a number for load_balancing_weight", name)
			}
			tags[name] = v
		default:
			return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: %s is neither a string, a boolean nor a number", httpapi.Quote(name))
		}
	}
	for _, name := range []string{tagZone, tagRegion, tagInstance} {
		if tags[name] == "" {
			return nil, 0, httpapi.Errorf(http.StatusBadRequest, "tags: %s is missing", name)
		}
	}
	return tags, weight, nil
}

// errTags says that the tags are no JSON, in the words of the original.
var errTags = errors.New("Invalid json supplied in tags") //nolint:staticcheck // clients know it

var errWeight = httpapi.Errorf(http.StatusBadRequest, "Invalid load_balancing_weight. Supply an integer between 1 and 100.")

// parseWeight takes a weight as Envoy has it.
func parseWeight(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > registry.MaxWeight {
		return 0, errWeight
	}
	return n, nil
}

// await waits until what was written can be read here, so that whoever wrote it
// finds it. It may take longer only where the registry has just gone away.
func await(r *httpapi.Request, app, name string, is func(*index.Snapshot) bool) error {
	x, err := r.Rack.Index()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitLimit)
	defer cancel()
	for s := x.Snapshot(); s != nil && !is(s); {
		if s, err = x.Await(ctx, s.Index(), name+"."+app); err != nil {
			return nil // it is written all the same
		}
	}
	return nil
}

const awaitLimit = 2 * time.Second
