package doctor

import (
	"context"
	"time"
)

// Status is how a rack is, in a screenful.
type Status struct {
	Rack string `json:"rack"`
	Zone string `json:"zone"`
	// Registry is where that is; Revision is 0 if it can't be read.
	Registry []string     `json:"registry"`
	Revision int64        `json:"revision"`
	Nodes    []NodeStatus `json:"nodes"`
	Services int          `json:"services"`
	// Serving and Left are how many instances DNS may tell, and how many not.
	Serving int `json:"serving"`
	Left    int `json:"left"`
	// Picture is how old the answers of this host's DNS servers may be, in
	// seconds, the oldest; nil if that isn't known.
	Picture *float64 `json:"picture"`
	// Problem is the worst finding, the first of its kind; nil if there is none.
	Problem *Result         `json:"problem"`
	Checks  map[Outcome]int `json:"checks"`
}

// NodeStatus is how a node is.
type NodeStatus struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Version string `json:"version"`
	// Heard is how long ago its agent was heard of, in seconds; nil if it has none,
	// or a key without a lease.
	Heard   *float64 `json:"heard"`
	Drained bool     `json:"drained"`
	Serving int      `json:"serving"`
	Left    int      `json:"left"`
}

// Summarize makes all checks, and sums up.
func Summarize(ctx context.Context, cfg Config) (*Status, error) {
	s, err := newScene(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	is := &Status{Rack: s.rack(), Zone: s.zone, Registry: s.registry.Endpoints(), Nodes: []NodeStatus{}, Checks: Count(all)}
	for n, r := range all {
		if (r.Outcome == Warned || r.Outcome == Failed) && (is.Problem == nil || badness[r.Outcome] > badness[is.Problem.Outcome]) {
			is.Problem = &all[n]
		}
	}
	for _, m := range s.metrics() {
		if age, ok := m.value("rackdns_index_sync_age_seconds"); ok && (is.Picture == nil || age > *is.Picture) {
			is.Picture = &age
		}
	}
	is.addNodes(s)
	return is, nil
}

// addNodes sums up what the registry has.
func (is *Status) addNodes(s *scene) {
	snapshot, err := s.picture()
	if err != nil {
		return
	}
	is.Revision = snapshot.Revision()
	serving, left := map[string]int{}, map[string]int{}
	for a := range snapshot.Apps() {
		for v := range snapshot.Services(a) {
			is.Services++
			for _, i := range v.Instances() {
				if i.Serving() {
					serving[i.Node()]++
					is.Serving++
				} else {
					left[i.Node()]++
					is.Left++
				}
			}
		}
	}
	nodes, err := s.nodes()
	if err != nil {
		return
	}
	contacts, err := s.contacts()
	if err != nil {
		return
	}
	for _, n := range nodes {
		name := n.Node.Node
		node := NodeStatus{Node: name, Version: n.Version, Drained: n.Draining, Serving: serving[name], Left: left[name]}
		if len(n.Addresses) > 0 {
			node.Address = n.Addresses[0].String()
		}
		if c, ok := contacts[name]; ok && c.TTL > 0 {
			ago := c.Ago.Round(time.Second).Seconds()
			node.Heard = &ago
		}
		is.Nodes = append(is.Nodes, node)
	}
}
