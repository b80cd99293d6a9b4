package consul

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// What a check says of an instance, in Consul's words.
const (
	passing  = "passing"
	critical = "critical"
)

// Node is a Docker host, or what a registered host is on.
type Node struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     int64
	ModifyIndex     int64
}

// Service is an instance, at one port.
type Service struct {
	ID                string
	Service           string
	Tags              []string
	Address           string
	Meta              map[string]string
	Port              uint16
	Weights           Weights
	EnableTagOverride bool
	CreateIndex       int64
	ModifyIndex       int64
}

// Weights are how often an instance comes first.
type Weights struct{ Passing, Warning uint16 }

// Check says whether an instance serves.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	CreateIndex int64
	ModifyIndex int64
}

// Entry is an instance with its node and its check.
type Entry struct {
	Node    Node
	Service Service
	Checks  []Check
}

// CatalogEntry is an instance in one piece.
type CatalogEntry struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServicePort              uint16
	ServiceMeta              map[string]string
	ServiceWeights           Weights
	ServiceEnableTagOverride bool
	CreateIndex              int64
	ModifyIndex              int64
}

// nodeID is a UUID of a name, always the same.
func nodeID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// address is that of a node, empty if it isn't known.
func address(s *index.Snapshot, node string) string {
	if n := s.Nodes()[node]; n != nil && len(n.Addresses) > 0 {
		return n.Addresses[0].String()
	}
	return ""
}

func leaderAddress(s *index.Snapshot, node string) string {
	return net.JoinHostPort(cmp.Or(address(s, node), "127.0.0.1"), "8300")
}

func (q *query) node(name, addr string) Node {
	return Node{
		ID: nodeID(name), Node: name, Address: addr, Datacenter: q.Rack.Name,
		TaggedAddresses: map[string]string{"lan": addr, "wan": addr}, Meta: map[string]string{}, CreateIndex: 1, ModifyIndex: 1,
	}
}

func nodes(w http.ResponseWriter, q *query) (any, error) {
	s, err := q.read(w, httpapi.Nodes)
	if err != nil {
		return nil, err
	}
	all := []Node{}
	for _, name := range slices.Sorted(maps.Keys(s.Nodes())) {
		n := q.node(name, address(s, name))
		if ok, err := q.filter.match(func(selector string) (any, bool) { return nodeField(&n, strings.TrimPrefix(selector, "Node.")) }); err != nil {
			return nil, err
		} else if ok {
			all = append(all, n)
		}
	}
	return all, nil
}

// services are the names of all services, with the tags that any of their instances
// has.
func services(w http.ResponseWriter, q *query) (any, error) {
	s, err := q.read(w, nil)
	if err != nil {
		return nil, err
	}
	if q.filter != nil {
		return nil, httpapi.Errorf(http.StatusBadRequest, "filter: isn't understood for the list of services")
	}
	all := map[string][]string{}
	for a := range s.Apps() {
		for v := range s.Services(a) {
			tags := []string{}
			for _, i := range v.Instances() {
				tags = append(tags, tagsOf(i.Tags())...)
			}
			slices.Sort(tags)
			all[nameOf(s, v)] = slices.Compact(tags)
		}
	}
	return all, nil
}

// tagsOf are tags as Consul has them: a word, or key=value.
func tagsOf(tags map[string]string) []string {
	all := []string{}
	for k, v := range tags {
		if v == "" {
			all = append(all, k)
		} else {
			all = append(all, k+"="+v)
		}
	}
	slices.Sort(all)
	return all
}

// entry is an instance where the client reaches it. It returns false if it doesn't.
func (q *query) entry(s *index.Snapshot, v *index.Service, i *index.Instance, c *index.Client, name string) (e Entry, ok bool) {
	var ip netip.Addr
	ports := i.Ports()
	var container, number uint16
	for _, x := range s.EndpointsOf(i, c) {
		all := x.All()
		if len(all) == 0 {
			continue
		}
		if !ip.IsValid() {
			ip = all[0] // where there is no TCP port at all
		}
		for n := range ports {
			p := &ports[n]
			if dial := x.Number(p); dial != 0 && !p.UDP && (container == 0 || p.Container < container) {
				container, number, ip = p.Container, dial, all[0]
			}
		}
	}
	if !ip.IsValid() {
		return e, false
	}
	d := i.Details()
	at := ip.String()
	host := at
	if i.Host().IsValid() {
		host = i.Host().String()
	}
	node := i.Node()
	if node == registry.NodeAPI {
		node = host // each is a host of its own
	}
	e.Node = q.node(node, host)
	e.Service = Service{
		ID: i.ID(), Service: name, Tags: tagsOf(d.Tags), Address: at, Meta: d.Tags, Port: number,
		Weights: Weights{max(i.Weight(), 1), 1}, CreateIndex: 1, ModifyIndex: 1,
	}
	if e.Service.Meta == nil {
		e.Service.Meta = map[string]string{}
	}
	check := Check{
		Node: node, CheckID: "service:" + i.ID(), Name: "state of the container", Status: passing, Output: "is " + s.StateInWords(i),
		ServiceID: i.ID(), ServiceName: name, ServiceTags: e.Service.Tags, Type: "rackdns", CreateIndex: 1, ModifyIndex: 1,
	}
	if !v.InTurn(i) {
		check.Status = critical
		if i.Serving() {
			check.Output = "has weight 0, and others serve"
		}
	}
	e.Checks = []Check{check}
	return e, true
}

// entries are the instances of a service that are wanted.
func (q *query) entries(s *index.Snapshot, v *index.Service) ([]Entry, error) {
	all := []Entry{}
	if v == nil {
		return all, nil
	}
	client, name := q.Client(s), nameOf(s, v)
	for _, i := range v.Instances() {
		e, ok := q.entry(s, v, i, client, name)
		if !ok || q.is("passing") && e.Checks[0].Status != passing || !q.hasTags(&e) {
			continue
		}
		if ok, err := q.filter.match(e.field); err != nil {
			return nil, err
		} else if ok {
			all = append(all, e)
		}
	}
	if near := q.URL.Query().Get("near"); near != "" {
		if near == "_agent" {
			near = q.Rack.Node
		}
		slices.SortStableFunc(all, func(x, y Entry) int {
			return cmp.Compare(distance(&x, near), distance(&y, near))
		})
	}
	return all, nil
}

func distance(e *Entry, near string) int {
	if e.Node.Node == near {
		return 0
	}
	return 1
}

// hasTags reports whether an entry has all tags that were asked for.
func (q *query) hasTags(e *Entry) bool {
	for _, tag := range q.values["tag"] {
		if !slices.ContainsFunc(e.Service.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			return false
		}
	}
	return true
}

func healthService(w http.ResponseWriter, q *query) (any, error) {
	name := q.PathValue("service")
	s, err := q.read(w, dependsOn(name))
	if err != nil {
		return nil, err
	}
	return q.entries(s, find(s, name))
}

func catalogService(w http.ResponseWriter, q *query) (any, error) {
	name := q.PathValue("service")
	s, err := q.read(w, dependsOn(name))
	if err != nil {
		return nil, err
	}
	entries, err := q.entries(s, find(s, name))
	if err != nil {
		return nil, err
	}
	all := []CatalogEntry{}
	for n := range entries {
		e := &entries[n]
		all = append(all, CatalogEntry{
			ID: e.Node.ID, Node: e.Node.Node, Address: e.Node.Address, Datacenter: e.Node.Datacenter,
			TaggedAddresses: e.Node.TaggedAddresses, NodeMeta: e.Node.Meta,
			ServiceID: e.Service.ID, ServiceName: e.Service.Service, ServiceTags: e.Service.Tags, ServiceAddress: e.Service.Address,
			ServicePort: e.Service.Port, ServiceMeta: e.Service.Meta, ServiceWeights: e.Service.Weights, CreateIndex: 1, ModifyIndex: 1,
		})
	}
	return all, nil
}

func healthState(w http.ResponseWriter, q *query) (any, error) {
	state := q.PathValue("state")
	if !slices.Contains([]string{"any", passing, "warning", critical}, state) {
		return nil, httpapi.Errorf(http.StatusBadRequest, "state %s: want any, passing, warning or critical", httpapi.Quote(state))
	}
	s, err := q.read(w, nil)
	if err != nil {
		return nil, err
	}
	all := []Check{}
	for a := range s.Apps() {
		for v := range s.Services(a) {
			entries, err := q.entries(s, v)
			if err != nil {
				return nil, err
			}
			for n := range entries {
				if c := entries[n].Checks[0]; state == "any" || c.Status == state {
					all = append(all, c)
				}
			}
		}
	}
	return all, nil
}
