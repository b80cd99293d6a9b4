package rack

import (
	"github.com/coredns/coredns/plugin/autopath"
	"github.com/coredns/coredns/request"
)

var _ autopath.AutoPather = (*Rack)(nil)

// AutoPath implements autopath.AutoPather: the search list of the asker's app,
// nil if the asker is no container of this node or the name is not in a zone
// of ours.
func (r *Rack) AutoPath(state request.Request) []string {
	z := r.match(state.Name())
	if z == nil || !z.forward {
		return nil
	}
	s := r.Snapshot()
	if s == nil {
		return nil
	}
	i := r.Client(s, state.W, state.Req).Instance()
	if i == nil || i.App() == "" {
		return nil
	}
	// The last element is the name as it is.
	return []string{i.App() + "." + z.name, z.name, ""}
}
