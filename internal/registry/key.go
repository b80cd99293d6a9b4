package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultPrefix is where everything lives unless configured otherwise.
const DefaultPrefix = "/rackdns"

// NodeAPI stands in place of a node for instances registered by HTTP, AppRack
// in place of an app for resources of the whole rack. No node and no app can
// have such a name.
const (
	NodeAPI = "@api"
	AppRack = "@rack"
)

// Kind says what a key holds.
type Kind uint8

// The kinds of keys.
const (
	KindNode Kind = iota + 1
	KindInstance
	KindService
	KindResource
	KindDrained
	KindSeen
)

var kindDirs = map[Kind]string{
	KindNode:     "nodes",
	KindInstance: "instances",
	KindService:  "services",
	KindResource: "resources",
	KindDrained:  "drained",
	KindSeen:     "seen",
}

// String returns the kind as it stands in the key.
func (k Kind) String() string { return kindDirs[k] }

// Kinds are all kinds, for metrics and lists.
func Kinds() []Kind {
	return []Kind{KindNode, KindInstance, KindService, KindResource, KindDrained, KindSeen}
}

// alone reports whether a key of this kind is an owner's only one.
func (k Kind) alone() bool { return k == KindNode || k == KindDrained }

// Layout builds and takes apart the keys of one rack.
type Layout struct {
	prefix, rack, base string
}

// NewLayout returns the key layout of rack under prefix, or an error that
// names what can't be part of a key.
func NewLayout(prefix, rack string) (Layout, error) {
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.Contains(prefix, "//") {
		return Layout{}, fmt.Errorf("prefix %q: must begin with a slash and not end in one", prefix)
	}
	if err := CheckLabel("rack", rack); err != nil {
		return Layout{}, err
	}
	return Layout{prefix: prefix, rack: rack, base: prefix + "/v1/" + rack + "/"}, nil
}

// Rack returns the rack's name.
func (l Layout) Rack() string { return l.rack }

// racks is the prefix of all racks.
func (l Layout) racks() string { return l.prefix + "/v1/" }

// Base is the prefix of all keys of the rack. It ends in a slash, so that the
// rack "acme" never sees the keys of "acme2".
func (l Layout) Base() string { return l.base }

// Node returns the key of a node.
func (l Layout) Node(node string) string { return l.base + "nodes/" + node }

// Drained returns the key that says that a node is drained.
func (l Layout) Drained(node string) string { return l.base + "drained/" + node }

// Seen returns the key of a service that was seen.
func (l Layout) Seen(app, service string) string { return l.base + "seen/" + app + "/" + service }

// Instances returns the prefix of all instances of a node, with its slash.
func (l Layout) Instances(node string) string { return l.base + "instances/" + node + "/" }

// Instance returns the key of an instance on a node.
func (l Layout) Instance(node, id string) string { return l.Instances(node) + id }

// Service returns the key of a declared service.
func (l Layout) Service(app, service string) string {
	return l.base + "services/" + app + "/" + service
}

// Resource returns the key of a resource; an empty app is the rack.
func (l Layout) Resource(app, name string) string {
	return l.base + "resources/" + appOrRack(app) + "/" + name
}

// Secret returns the key of a resource's credentials. It lies outside of
// [Layout.Base], so that those who may read names can't read passwords.
func (l Layout) Secret(app, name string) string {
	return l.Secrets() + appOrRack(app) + "/" + name
}

// Secrets returns the prefix of all credentials of the rack.
func (l Layout) Secrets() string { return l.prefix + "/secrets/" + l.rack + "/" }

// Locks returns the prefix of all locks of the rack. It lies outside of
// [Layout.Base] too: a lock is nothing that a follower should be told of.
func (l Layout) Locks() string { return l.prefix + "/locks/" + l.rack + "/" }

func appOrRack(app string) string {
	if app == "" {
		return AppRack
	}
	return app
}

// Key is a key taken apart: Owner is the node of a node, an instance or a drain,
// else the app; Name is what is left, which has slashes if the owner is NodeAPI:
// <app>/<service>/<ip>~<port>, or else <service>~<ip> as it was once.
type Key struct {
	Kind        Kind
	Owner, Name string
}

var errNotOurKey = errors.New("no such kind of key")

// Parse takes apart a key of the rack.
func (l Layout) Parse(key string) (Key, error) {
	rest, ok := strings.CutPrefix(key, l.base)
	if !ok {
		return Key{}, fmt.Errorf("key %q: not in %s", key, l.base)
	}
	dir, rest, _ := strings.Cut(rest, "/")
	owner, name, nested := strings.Cut(rest, "/")
	// Nobody watches what is registered by hand, so that its key says it all:
	// app, service, and where.
	byHand := dir == kindDirs[KindInstance] && owner == NodeAPI && strings.Count(name, "/") == 2 && !slices.Contains(strings.Split(name, "/"), "")
	if owner == "" || strings.Contains(name, "/") && !byHand {
		return Key{}, fmt.Errorf("key %q: %w", key, errNotOurKey)
	}
	for kind, d := range kindDirs {
		if d != dir || nested == kind.alone() || nested == (name == "") {
			continue
		}
		return Key{Kind: kind, Owner: owner, Name: name}, nil
	}
	return Key{}, fmt.Errorf("key %q: %w", key, errNotOurKey)
}
