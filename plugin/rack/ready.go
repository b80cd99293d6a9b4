package rack

import "github.com/coredns/coredns/plugin/ready"

var _ ready.Readiness = (*Rack)(nil)

// Ready implements ready.Readiness: true while there is something to answer
// from. The ready plugin asks again only with "monitor continuously".
func (r *Rack) Ready() bool { return r.Snapshot() != nil }
