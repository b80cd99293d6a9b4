package resolve

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
)

// Service returns the instances of a service by its name, such as worker.shop, or
// that with the rack's zone. It returns none if the name can't be that of a service
// here, and an error if there is an app of that name, but no such service.
func (r Rack) Service(name string) ([]*index.Instance, error) {
	lower := strings.ToLower(strings.TrimSuffix(name, "."))
	service, app, ok := strings.Cut(strings.TrimSuffix(lower, "."+r.Zone), ".")
	a := r.Snapshot.App(app)
	if !ok || a == nil {
		return nil, nil
	}
	v := r.Snapshot.ServiceOf(a.Name, service)
	if v == nil {
		e := &index.UnknownError{What: "service", Name: service, Of: "app " + a.Name}
		for v := range r.Snapshot.Services(a) {
			e.Known = append(e.Known, v.Name())
		}
		return nil, e
	}
	if len(v.Instances()) == 0 {
		return nil, fmt.Errorf("service %s.%s: has no instance that could ask", v.Name(), a.Name)
	}
	return v.Instances(), nil
}

// Standpoints returns one of the instances for each way of asking: those on the
// same node and the same networks are told the same.
func Standpoints(all []*index.Instance) (asking []*index.Instance, alike map[string][]string) {
	first := map[string]*index.Instance{}
	alike = map[string][]string{}
	for _, i := range all {
		key := i.Node()
		for _, n := range i.Networks() {
			key += " " + n.ID
		}
		if f := first[key]; f != nil {
			alike[f.ID()] = append(alike[f.ID()], i.ID())
			continue
		}
		first[key] = i
		asking = append(asking, i)
	}
	return asking, alike
}

// Answer is a result for one asker, and for others who are told the same.
type Answer struct {
	Result
	// Also are the IDs of the other instances of the asker's service that are told
	// the same.
	Also []string `json:"also,omitempty"`
}

// Merge returns the answers with those that tell the same made one, in their order.
func Merge(all []Answer) []Answer {
	var merged []Answer
next:
	for _, a := range all {
		for n := range merged {
			if same(&merged[n].Result, &a.Result) {
				i := a.Asker.asker.Instance()
				if i != nil {
					merged[n].Also = append(merged[n].Also, i.ID())
				}
				merged[n].Also = append(merged[n].Also, a.Also...)
				continue next
			}
		}
		merged = append(merged, a)
	}
	return merged
}

func same(a, b *Result) bool {
	x, y := *a, *b
	x.Asker, y.Asker = Asker{}, Asker{}
	return reflect.DeepEqual(x, y)
}
