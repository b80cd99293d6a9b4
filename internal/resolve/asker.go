package resolve

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Asker is who asks, as the DNS server takes it.
type Asker struct {
	asker index.Asker
	// Address is where the question comes from, if that is known.
	Address netip.Addr
	// words say who it is.
	words string
}

// String says who it is.
func (a Asker) String() string {
	if !a.Address.IsValid() {
		return "by " + a.words
	}
	return "from " + a.Address.String() + " (" + a.words + ")"
}

// MarshalJSON gives programs the same.
func (a Asker) MarshalJSON() ([]byte, error) {
	v := struct {
		Kind     string     `json:"kind"`
		Address  netip.Addr `json:"address,omitzero"`
		Instance string     `json:"instance,omitempty"`
		Service  string     `json:"service,omitempty"`
		App      string     `json:"app,omitempty"`
	}{Kind: "stranger", Address: a.Address}
	switch i := a.asker.Instance(); {
	case i != nil:
		v.Kind, v.Instance, v.Service, v.App = "container", i.ID(), i.Service(), i.App()
	case a.asker.Kind() != reach.Unknown:
		v.Kind = a.asker.Kind().String()
	}
	return json.Marshal(v)
}

// Stranger is an asker of whom nothing is known.
func (r Rack) Stranger() Asker { return Asker{asker: index.Stranger(), words: r.stranger()} }

func (r Rack) stranger() string { return "a stranger, neither " + r.Node + " nor a container there" }

// Unregistered is a container that isn't registered.
func (r Rack) Unregistered(container string) Asker {
	return Asker{asker: index.Stranger(), words: fmt.Sprintf("container %s, which is not registered, as rackdns explain says, and so a stranger", container)}
}

// At is who asks from an address.
func (r Rack) At(ip netip.Addr) Asker {
	a := Asker{asker: r.Snapshot.Asker(ip), Address: ip.Unmap()}
	switch i := a.asker.Instance(); {
	case i != nil:
		a.words = inWords(i)
	case r.Snapshot.IsForwarder(ip):
		a.words = "a forwarder, and so a stranger unless it tells the client's subnet"
	default:
		a.words = r.words(a.asker)
	}
	return a
}

// words say what is known of a client that is no container that is registered.
func (r Rack) words(c *index.Client) string {
	switch c.Kind() {
	case reach.Self:
		return r.Node + " itself"
	case reach.OnNetwork:
		return fmt.Sprintf("a container of %s on network %s that isn't registered", r.Node, r.Snapshot.NetworkName(c.Networks()[0]))
	case reach.Hidden:
		return fmt.Sprintf("the gateway of a Docker network of %s: %s itself, or whoever a proxy stands before", r.Node, r.Node)
	case reach.OnLink:
		return "a neighbour of " + r.Node + ", in a subnet of one of its interfaces"
	case reach.Unknown, reach.Container:
	}
	return r.stranger()
}

func inWords(i *index.Instance) string {
	switch {
	case i.Hidden() && i.App() == "":
		return fmt.Sprintf("container %s on %s, which is told to nobody", i.ID(), i.Node())
	case i.Hidden():
		return fmt.Sprintf("container %s of app %s on %s, which is told to nobody", i.ID(), i.App(), i.Node())
	}
	if i.Node() == registry.NodeAPI {
		return fmt.Sprintf("host %s, registered by hand as %s.%s", i.ID(), i.Service(), i.App())
	}
	return fmt.Sprintf("instance %s of %s.%s on %s", i.ID(), i.Service(), i.App(), i.Node())
}

// Of is an instance that asks, from its first network. One without a network of
// its own has the node's.
func (r Rack) Of(i *index.Instance) Asker {
	from := i.Host()
	if len(i.AsksFrom()) > 0 {
		from = i.AsksFrom()[0]
	}
	for _, n := range i.Networks() {
		if ips := n.Addrs.All(); len(ips) > 0 {
			from = ips[0]
			break
		}
	}
	switch {
	case i.Node() == registry.NodeAPI:
		return r.At(from)
	case i.Node() != r.Node && r.Snapshot.Asker(from).Instance() == i:
		// By its address every server of the rack knows it.
		return r.At(from)
	case i.Node() != r.Node:
		return Asker{asker: index.Stranger(), Address: from, words: inWords(i) + ", a stranger to " + r.Node}
	case len(i.Networks()) == 0 && len(i.AsksFrom()) == 0:
		a := r.At(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		a.words = inWords(i) + ", by the network of the node itself"
		return a
	}
	return r.At(from)
}

// shortestID is how many digits of an ID are enough to tell it from a name.
const shortestID = 4

// Instance returns the instance with an ID that begins so, nil if there is none.
// An ID can be as long as Docker's, of which an instance has the first part.
func (r Rack) Instance(id string) (*index.Instance, error) {
	const length = 12
	if len(id) < shortestID || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, nil
	}
	var found []*index.Instance
	for a := range r.Snapshot.Apps() {
		for v := range r.Snapshot.Services(a) {
			for _, i := range v.Instances() {
				if strings.HasPrefix(i.ID(), id[:min(len(id), length)]) {
					found = append(found, i)
				}
			}
		}
	}
	for i := range r.Snapshot.HiddenInstances() {
		if strings.HasPrefix(i.ID(), id[:min(len(id), length)]) {
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("instance %s: several have such an ID, such as %s and %s", registry.Quote(id), inWords(found[0]), inWords(found[1]))
}
