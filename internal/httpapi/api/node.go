package api

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Node is a Docker host of the rack.
type Node struct {
	Name string `json:"node"`
	// Absent is a node that is drained and has no agent now.
	Absent bool `json:"absent"`
	// Addresses are its own, the one that others reach it by first.
	Addresses []netip.Addr  `json:"addresses"`
	Version   string        `json:"version"`
	Started   time.Time     `json:"started,omitzero"`
	Networks  []NodeNetwork `json:"networks"`
	// Drained says by whom, when and why its instances are told to nobody, null if
	// they aren't drained.
	Drained *registry.Drained `json:"drained"`
}

// NodeNetwork is a network of a node's engine.
type NodeNetwork struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Driver   string         `json:"driver"`
	Scope    string         `json:"scope"`
	Internal bool           `json:"internal"`
	Subnets  []netip.Prefix `json:"subnets"`
}

func nodeNames(s *index.Snapshot) []string {
	all := slices.Collect(maps.Keys(s.Nodes()))
	for name := range s.DrainedNodes() {
		if s.Nodes()[name] == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func nodeOf(s *index.Snapshot, name string) Node {
	is := Node{Name: name, Absent: true, Addresses: []netip.Addr{}, Networks: []NodeNetwork{}, Drained: s.Drained(name)}
	n := s.Nodes()[name]
	if n == nil {
		return is
	}
	is.Absent, is.Version, is.Started = false, n.Version, n.Started
	is.Addresses = append(is.Addresses, n.Addresses...)
	for _, w := range n.Networks {
		is.Networks = append(is.Networks, NodeNetwork{w.ID, w.Name, w.Driver, w.Scope, w.Internal, append([]netip.Prefix{}, w.Subnets...)})
	}
	return is
}

func nodes(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(httpapi.Nodes)
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(Node) bool) {
		for _, name := range nodeNames(s) {
			if !yield(nodeOf(s, name)) {
				return
			}
		}
	})
}

func node(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(httpapi.Nodes)
	if err != nil {
		return err
	}
	if name := r.PathValue("node"); slices.Contains(nodeNames(s), name) {
		return httpapi.WriteJSON(w, http.StatusOK, nodeOf(s, name))
	}
	return httpapi.Errorf(http.StatusNotFound, "rack %s has no node %s", r.Rack.Name, httpapi.Quote(r.PathValue("node")))
}
