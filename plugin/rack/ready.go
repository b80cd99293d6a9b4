package rack

import "github.com/coredns/coredns/plugin/ready"

var _ ready.Readiness = (*Rack)(nil)

// Ready implements ready.Readiness: true once there is something to answer
// from, and ever after.
func (r *Rack) Ready() bool { return r.index != nil && r.index.Snapshot() != nil }
