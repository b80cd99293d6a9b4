package index

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"
	"unique"
	"unsafe"

	"github.com/rackdns/rackdns/internal/registry"
)

// Network is an instance's place on a Docker network.
type Network struct {
	// of is the network: one pointer for the garbage collector to follow, of
	// which a rack has as many as instances.
	of    unique.Handle[network]
	Addrs Addrs
}

// network is what all instances share that are on it.
type network struct {
	id, name string
	// local networks end at their node.
	local bool
}

// Name returns the network's name.
func (n *Network) Name() string { return n.of.Value().name }

// Instance is a registered instance in the form that a lookup needs, in little
// memory, and with few pointers: the garbage collector follows each of them,
// over and over, in as many instances as the rack has. It never changes once it
// can be seen.
type Instance struct {
	// What many instances have in common they share: the name with those of
	// their service, once the instance is in it.
	name    *serviceName
	home    unique.Handle[home]
	details unique.Handle[details]
	// rare is what few instances have.
	rare *rare
	// Nearly all instances have one port and one network; the others have them
	// in rare, and nothing here.
	port      [1]Port
	network   [1]Network
	nPorts    uint8
	nNetworks uint8
	// id is the ID, if it is as long as a container's.
	id [idLength]byte
	// host is where the published ports are.
	host Addrs

	revision int64
	started  int64

	priority uint16
	weight   uint8
	health   health
	draining bool
	serving  bool
	// seen is the list in which the instance last was. Only the builder
	// reads and writes it.
	seen uint32
	// spot is where the instance lies. next is the builder's: see table.
	spot, next spot
}

// rare is what few instances have: an ID that is no container's, more than one
// port or network, or a resource that they are one of. Those that have any of
// it have all of it here.
type rare struct {
	id       string
	ports    []Port
	networks []Network
	resource *registry.InstanceResource
}

// serviceName is what the instances of a service share. It never changes.
type serviceName struct {
	// own is the namespace, empty if it is the app's name.
	own string
	// short is <service>.<app>, length its own, if it is short enough; else it
	// is long. A rack has many: one object is half the work of two.
	long   string
	short  [46]byte
	length uint8
	// dot is where the dot between service and app is.
	dot uint8
}

func newServiceName(service, app, namespace string) *serviceName {
	n := &serviceName{dot: uint8(len(service))}
	if namespace != app {
		n.own = namespace
	}
	if l := len(service) + len(app) + 1; l <= len(n.short) {
		n.length = uint8(l)
		copy(n.short[:], service)
		n.short[n.dot] = '.'
		copy(n.short[n.dot+1:], app)
	} else {
		n.long = service + "." + app
	}
	return n
}

// full is what the trie of services finds a service by.
func (n *serviceName) full() string {
	if n.length == 0 {
		return n.long
	}
	// Nobody changes the bytes once there is a name.
	return unsafe.String(&n.short[0], n.length) //nolint:gosec // see above
}

func (n *serviceName) app() string     { return n.full()[n.dot+1:] }
func (n *serviceName) service() string { return n.full()[:n.dot] }

func (n *serviceName) namespace() string {
	if n.own == "" {
		return n.app()
	}
	return n.own
}

// home is what the instances of a node share: addr is the node's own address.
type home struct {
	node string
	addr Addrs
}

// details are what DNS doesn't show of an instance, but for the kind of
// endpoint it is limited to.
type details struct {
	release, image, command, status string
	address                         string
	// tags and wishes are in JSON, since a map can't be compared.
	tags, wishes string
	// since is the time since when the instance's app has its namespace, 0 if
	// since the instance started.
	since int64
}

// wishes are what an instance asked to be led to.
type wishes struct {
	Links   []string
	Connect map[uint16]string
}

type health uint8

var healths = []string{"", registry.HealthStarting, registry.HealthHealthy, registry.HealthUnhealthy}

// newInstance takes over what an index needs of r.
func newInstance(r *registry.Instance, revision int64) *Instance {
	return new(Instance).fill(r, revision)
}

// fill is newInstance for an instance that is empty. It keeps none of r's
// slices, which are the decoder's.
func (i *Instance) fill(r *registry.Instance, revision int64) *Instance {
	i.revision = revision
	if !r.Started.IsZero() {
		i.started = r.Started.UnixNano()
	}
	i.name = newServiceName(r.Service, r.App, r.Namespace)
	i.priority = uint16(r.Priority)
	i.weight = uint8(r.Weight)
	i.health = health(max(slices.Index(healths, r.Health), 0))
	i.draining = r.Draining
	i.serving = r.Serving()
	h := home{node: r.Node}
	h.addr.add(r.Host)
	i.home = unique.Make(h)
	d := details{release: r.Release, image: r.Image, command: r.Command, status: r.Status, address: r.Address}
	if len(r.Tags) > 0 {
		// Strings to strings can always be encoded, and in one order.
		tags, _ := json.Marshal(r.Tags)
		d.tags = string(tags)
	}
	if len(r.Links) > 0 || len(r.Connect) > 0 {
		w, _ := json.Marshal(wishes{r.Links, r.Connect})
		d.wishes = string(w)
	}
	if !r.NamespaceSince.IsZero() {
		d.since = r.NamespaceSince.UnixNano()
	}
	i.details = unique.Make(d)
	if len(r.Ports) > 1 || len(r.Networks) > 1 || r.Resource != nil || len(r.ID) != idLength {
		i.rare = &rare{id: r.ID, ports: make([]Port, len(r.Ports)), networks: make([]Network, len(r.Networks)), resource: r.Resource}
	} else {
		i.nPorts, i.nNetworks = uint8(len(r.Ports)), uint8(len(r.Networks))
		copy(i.id[:], r.ID)
	}
	networks := i.Networks()
	for n, w := range r.Networks {
		networks[n].of = unique.Make(network{w.ID, w.Name, w.Scope == registry.ScopeLocal})
		networks[n].Addrs.add(w.IPv4)
		networks[n].Addrs.add(w.IPv6)
	}
	i.setPorts(r)
	return i
}

// ID returns the instance's ID, a DNS label.
func (i *Instance) ID() string {
	if i.rare != nil {
		return i.rare.id
	}
	// Nobody changes the bytes once the instance can be seen.
	return unsafe.String(&i.id[0], len(i.id)) //nolint:gosec // see above
}

// looksLike reports whether DNS shows the same of both, wherever it is asked.
func (i *Instance) looksLike(o *Instance) bool {
	if i.ID() != o.ID() || *i.name != *o.name || i.serving != o.serving {
		return false
	}
	if !sameResource(i.resource(), o.resource()) || i.since() != o.since() {
		return false
	}
	if !i.serving {
		// Only that there is such an instance, with such ports, can be seen.
		return slices.EqualFunc(i.Ports(), o.Ports(), func(a, b Port) bool {
			return a.name == b.name && a.Container == b.Container && a.UDP == b.UDP
		})
	}
	return i.Node() == o.Node() && i.forced() == o.forced() && i.weight == o.weight && i.priority == o.priority &&
		i.host == o.host && slices.Equal(i.Ports(), o.Ports()) && slices.Equal(i.Networks(), o.Networks())
}

// Node returns the name of the instance's node.
func (i *Instance) Node() string { return i.home.Value().node }

// App returns the name of the instance's app.
func (i *Instance) App() string { return i.name.app() }

// Service returns the name of the instance's service.
func (i *Instance) Service() string { return i.name.service() }

// Namespace returns the namespace that the instance declares for its app.
func (i *Instance) Namespace() string { return i.name.namespace() }

// Release returns the release that the instance runs.
func (i *Instance) Release() string { return i.details.Value().release }

// Image returns the image that the instance runs.
func (i *Instance) Image() string { return i.details.Value().image }

// Command returns the command that the instance runs, if it isn't the image's.
func (i *Instance) Command() string { return i.details.Value().command }

// Status returns Docker's status.
func (i *Instance) Status() string { return i.details.Value().status }

// Health returns Docker's result of the health check, empty without one.
func (i *Instance) Health() string { return healths[i.health] }

// Draining reports whether the instance is about to end.
func (i *Instance) Draining() bool { return i.draining }

// Serving reports whether DNS may hand out the instance.
func (i *Instance) Serving() bool { return i.serving }

// Started returns when the instance started, in UTC.
func (i *Instance) Started() time.Time {
	if i.started == 0 {
		return time.Time{}
	}
	return time.Unix(0, i.started).UTC()
}

// since is the time since when the instance's app has its name and namespace, as
// far as the instance tells. One that doesn't tell is the newest.
func (i *Instance) since() int64 {
	switch since := i.details.Value().since; {
	case since != 0 && (since < i.started || i.started == 0):
		return since
	case i.started == 0:
		return math.MaxInt64
	}
	return i.started
}

// OfResource reports whether the instance is one of a resource, such as a
// database, and of its service only for want of another name.
func (i *Instance) OfResource() bool { return i.resource() != nil }

func (i *Instance) resource() *registry.InstanceResource {
	if i.rare == nil {
		return nil
	}
	return i.rare.resource
}

// Weight returns the weight, 1 to 100.
func (i *Instance) Weight() uint16 { return uint16(i.weight) }

// Priority returns the priority as in RFC 2782: lower comes first.
func (i *Instance) Priority() uint16 { return i.priority }

// Tags returns a copy of the instance's tags, nil if there are none.
func (i *Instance) Tags() map[string]string {
	var tags map[string]string
	if t := i.details.Value().tags; t != "" {
		// It was made by newInstance.
		_ = json.Unmarshal([]byte(t), &tags)
	}
	return tags
}

// Links returns a copy of the services of its app that the instance asked to be
// led to.
func (i *Instance) Links() []string { return i.wishes().Links }

// Connect returns a copy of the names that ports of the instance's own loopback
// are to lead to.
func (i *Instance) Connect() map[uint16]string { return i.wishes().Connect }

func (i *Instance) wishes() wishes {
	var w wishes
	if s := i.details.Value().wishes; s != "" {
		// It was made by newInstance.
		_ = json.Unmarshal([]byte(s), &w)
	}
	return w
}

// forced is the kind of endpoint that the instance is limited to.
func (i *Instance) forced() string { return i.details.Value().address }

// Ports returns all ports, which the caller must not change.
func (i *Instance) Ports() []Port {
	if i.rare != nil {
		return i.rare.ports
	}
	return i.port[:i.nPorts]
}

// Networks returns the networks, the preferred one first. The caller must not
// change them.
func (i *Instance) Networks() []Network {
	if i.rare != nil {
		return i.rare.networks
	}
	return i.network[:i.nNetworks]
}

// Published returns the address of the node at which the ports are published,
// which is none if nothing is beyond loopback. The caller must not change it.
func (i *Instance) Published() *Addrs { return &i.host }

// Host returns the address of the instance's node.
func (i *Instance) Host() Addrs { return i.home.Value().addr }

// byID orders by ID; should two nodes have one of the same ID, by node.
func byID(a, b *Instance) int {
	if c := cmp.Compare(a.ID(), b.ID()); c != 0 {
		return c
	}
	return cmp.Compare(a.Node(), b.Node())
}
