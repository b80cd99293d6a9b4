// Package registry is the rack's shared state in etcd: the domain types, the
// key layout, the codec, and the two ways in and out of it.
//
// A [Publisher] writes the keys of one node and hangs them on one lease; a
// [Follower] lists everything once and then follows a watch. Neither is ever
// called by a DNS query.
//
// Other programs read and write the same keys, so the field names below are a
// contract: a decoder ignores fields that it doesn't know, and a writer that
// changes a value it didn't create keeps them (see [Overlay]).
package registry

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Docker's states of a container, as far as they matter here. Only a running
// instance serves.
const (
	StatusRunning = "running"
	StatusPaused  = "paused"
)

// Docker's results of a health check. No health check is the empty string.
const (
	HealthStarting  = "starting"
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// Transport protocols of a port.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Values of Instance.Address: which kind of endpoint askers get.
const (
	AddressAuto      = ""
	AddressHost      = "host"
	AddressContainer = "container"
)

// The weight of an instance: how often it comes first, relative to others. One
// of weight 0 is told only where nothing else of its service serves.
const (
	MinWeight     = 0
	MaxWeight     = 100
	DefaultWeight = 1
	// KeepWeight is for [Client.Register] alone: the weight that the host has,
	// else DefaultWeight.
	KeepWeight = -1
)

// MaxAnswers is the largest limit that there can be to a service's answers.
const MaxAnswers = 1000

// Instance is one running container of a service, or one host that was
// registered by HTTP.
type Instance struct {
	// ID is a DNS label that names the instance below its service: the first
	// 12 digits of a container's ID.
	ID        string    `json:"id"`
	Node      string    `json:"node"`
	App       string    `json:"app"`
	Service   string    `json:"service"`
	Namespace string    `json:"namespace"`
	Release   string    `json:"release"`
	Image     string    `json:"image"`
	Command   string    `json:"command"`
	Started   time.Time `json:"started"`
	// Restarts is how often the engine has started the container again after its
	// end, since somebody started it.
	Restarts int `json:"restarts,omitempty"`
	// Status is Docker's, Health too; see the constants.
	Status   string `json:"status"`
	Health   string `json:"health"`
	Draining bool   `json:"draining"`
	// Host is the node's address for others.
	Host     netip.Addr `json:"host"`
	Ports    []Port     `json:"ports"`
	Networks []Network  `json:"networks"`
	Weight   int        `json:"weight"`
	Priority int        `json:"priority"`
	// Answers is how many addresses of the service a reply has at most, chosen
	// by weight; 0 is all of them.
	Answers int               `json:"answers,omitempty"`
	Tags    map[string]string `json:"tags"`
	// Address forces one kind of endpoint for this instance, whoever asks.
	Address string `json:"address"`
	// Hidden says that nobody is told of the container: it is here to be known
	// when it asks. It may lack a service, and an app.
	Hidden bool `json:"hidden,omitempty"`
	// AsksFrom are addresses by which the container asks, besides those on its
	// networks: an overlay's containers leave their node by docker_gwbridge.
	// Nobody reaches it there.
	AsksFrom []netip.Addr `json:"asksFrom,omitempty"`
	// NetworkOf is the ID of the container whose network namespace it shares. Of
	// those at one address, that one is who asks.
	NetworkOf string `json:"networkOf,omitempty"`
	// Repo is the repository of the service's source, by which clients of Lyft's
	// discovery ask for it.
	Repo string `json:"repo,omitempty"`
	// Resource says that the instance is one of a resource's, besides being
	// one of its service's.
	Resource *InstanceResource `json:"resource,omitempty"`
	// Links are the services of its app, and Connect the names by the port of
	// its own loopback, that the instance asked by label to be led to.
	Links   []string          `json:"links,omitempty"`
	Connect map[uint16]string `json:"connect,omitempty"`
	// Aliases are further names of the instance in its app. A service of such a
	// name keeps it.
	Aliases []Alias `json:"aliases,omitempty"`
	// NamespaceSince is the time since when the app has had its name and its
	// namespace on this node without a gap of more than an hour, if that is
	// before Started: containers of a rolling deployment hand it on. Of two
	// apps that claim one namespace, the one that had it first keeps it.
	NamespaceSince time.Time `json:"namespaceSince,omitzero"`
	// Observed is the time of the Docker event that caused the write. It
	// exists to measure propagation and never makes two instances different.
	Observed time.Time `json:"observed"`
}

// InstanceResource names the resource of its app that an instance is of. The
// resource need not be declared; where it is, its declaration says the type.
type InstanceResource struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// MaxAliases is how many aliases an instance can have.
const MaxAliases = 32

// Alias is a name by which an instance is found beside its service's.
type Alias struct {
	// Name is a DNS label.
	Name string `json:"name"`
	// Port is the one container port that the name is for, 0 if it is for all.
	Port uint16 `json:"port,omitempty"`
}

// Port is one port that a container listens on. Without bindings it is not
// published: only those who reach the container itself can use it.
type Port struct {
	Name      string    `json:"name"`
	Protocol  string    `json:"protocol"`
	Container uint16    `json:"container"`
	Bindings  []Binding `json:"bindings"`
	// Loopback are where it is published for the node itself alone.
	Loopback []Binding `json:"loopback,omitempty"`
}

// Binding is an address of the node where a port is published.
type Binding struct {
	IP   netip.Addr `json:"ip"`
	Port uint16     `json:"port"`
	// Mesh says that it is swarm's routing mesh that leads from there, to any
	// instance of the service.
	Mesh bool `json:"mesh,omitempty"`
}

// Network is a container's place on a Docker network. The first of an
// instance's networks is the one to prefer where nothing else decides. By one
// without an address it isn't to be reached (rackdns.network names another).
type Network struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Scope is Docker's: "local" networks end at their node, any other
	// ("swarm", "global") spans nodes.
	Scope string     `json:"scope"`
	IPv4  netip.Addr `json:"ipv4"`
	IPv6  netip.Addr `json:"ipv6"`
}

// ScopeLocal is the scope of a network that ends at its node.
const ScopeLocal = "local"

// Node is one Docker host of the rack, running one agent.
type Node struct {
	Node string `json:"node"`
	// Engine is the Docker Engine's ID, by which a node recognises its own
	// keys after a restart.
	Engine string `json:"engine"`
	// Boot is the ID of the host's present boot: no container outlives that.
	Boot string `json:"boot,omitempty"`
	// Addresses are the node's own: first the one that others reach it by.
	Addresses []netip.Addr `json:"addresses"`
	// Links are the subnets of the node's interfaces, those of Docker's networks
	// left out.
	Links []netip.Prefix `json:"links,omitempty"`
	// Networks are those of the node's engine.
	Networks []NodeNetwork `json:"networks,omitempty"`
	// Remote says that the engine is on another host than the agent, and than the
	// DNS server that calls itself by the node's name: who asks that isn't there.
	Remote bool `json:"remote,omitempty"`
	// Unproxied says that the engine leads connections to published ports by the
	// packet filter alone, which drops those from another of its networks
	// (userland-proxy: false, before Engine 28).
	Unproxied bool `json:"unproxied,omitempty"`
	// NoIPv6NAT says that such an engine's packet filter leads nobody to what is
	// published over IPv6 (before Engine 27).
	NoIPv6NAT bool      `json:"no_ipv6_nat,omitempty"`
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	// Draining is how older versions say that the node is [Drained].
	Draining bool `json:"draining"`
	// Listed says that the agent has written all that runs on the node since
	// it put this key there: what is missing then doesn't run.
	Listed bool `json:"listed,omitempty"`
}

// NodeNetwork is a Docker network as a node has it.
type NodeNetwork struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Driver and Scope are Docker's: see [Network].
	Driver string `json:"driver"`
	Scope  string `json:"scope"`
	// Internal networks lead nowhere else.
	Internal bool           `json:"internal,omitempty"`
	Subnets  []netip.Prefix `json:"subnets,omitempty"`
	// Gateways are the node's addresses on the network.
	Gateways []netip.Addr `json:"gateways,omitempty"`
}

// Service is a declared service: it exists in DNS, without an instance too.
type Service struct {
	App       string        `json:"app"`
	Service   string        `json:"service"`
	Namespace string        `json:"namespace"`
	Ports     []ServicePort `json:"ports"`
	Links     []string      `json:"links"`
	// Resources are those of the app that it uses, each a name, or name:ENV
	// where it wants that one variable.
	Resources []string `json:"resources"`
	// Environment are the names of the variables that it lists, EnvironmentAll
	// among them if it has all of the app's environment.
	Environment []string `json:"environment,omitempty"`
}

// EnvironmentAll stands for all of the app's environment.
const EnvironmentAll = "*"

// ServicePort is a port that a declared service offers.
type ServicePort struct {
	Name      string `json:"name"`
	Protocol  string `json:"protocol"`
	Container uint16 `json:"container"`
	Scheme    string `json:"scheme"`
}

// ManagerUp is the Resource.Manager of those that stand in an app's convox.yml.
const ManagerUp = "up"

// Resource is a supplementary component of an app or, with App empty, of the
// rack. Its credentials live elsewhere (see [Layout.Secret]).
type Resource struct {
	App  string `json:"app"`
	Name string `json:"name"`
	Type string `json:"type"`
	// Host is an address or the name of an outside host.
	Host    string            `json:"host"`
	Port    uint16            `json:"port"`
	Default bool              `json:"default"`
	Options map[string]string `json:"options"`
	// Manager says who declared it and may change it: ManagerUp, or nobody but
	// whoever did it by hand.
	Manager string `json:"manager,omitempty"`
	// Links are the apps ("shop") and services ("shop/web") that a resource of
	// the rack is linked to: they get its variables.
	Links []string `json:"links,omitempty"`
}

// Serving reports whether DNS may hand out the instance: running, not
// draining, and healthy where it has a health check.
func (i *Instance) Serving() bool {
	return !i.Hidden && i.Status == StatusRunning && !i.Draining && (i.Health == "" || i.Health == HealthHealthy)
}

// MarshalJSON writes lists as lists, also when they are empty: readers that
// loop over them need not know about null.
func (i Instance) MarshalJSON() ([]byte, error) {
	type plain Instance
	if i.Ports == nil {
		i.Ports = []Port{}
	}
	if i.Networks == nil {
		i.Networks = []Network{}
	}
	if i.Tags == nil {
		i.Tags = map[string]string{}
	}
	return json.Marshal(plain(i))
}

// MarshalJSON is as for [Instance].
func (p Port) MarshalJSON() ([]byte, error) {
	type plain Port
	if p.Bindings == nil {
		p.Bindings = []Binding{}
	}
	return json.Marshal(plain(p))
}
