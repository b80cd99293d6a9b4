package index

import (
	"net/netip"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/klauspost/compress/s2"

	"github.com/rackdns/rackdns/internal/registry"
)

// words is what the values of instances have in common: the names of their fields
// and what is usual in them. A rack's values take a third of the memory with it.
var words = sync.OnceValue(func() *s2.Dict {
	at := netip.AddrFrom4([4]byte{10, 0, 2, 10})
	value, err := registry.Encode(&registry.Instance{
		ID: "3485248b1d18", Node: "node-1", App: "shop", Service: "web", Namespace: "shop", Image: "example/web:1",
		Started: time.Unix(0, 0).UTC(), Status: registry.StatusRunning, Health: registry.HealthHealthy, Host: at, Weight: registry.DefaultWeight,
		Ports: []registry.Port{{
			Name: "http", Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: at, Port: 32768}},
		}},
		Networks: []registry.Network{{ID: "5f1c7d2e8a90", Name: "bridge", Scope: registry.ScopeLocal, IPv4: netip.AddrFrom4([4]byte{172, 17, 0, 2})}},
	})
	if err != nil {
		panic(err) // it is the same each time
	}
	return s2.MakeDict(value, nil)
})

// pack returns copies of an instance's ID and of its value, both in one piece of
// memory, the value compressed: it is for the few who ask for more than DNS does,
// and for the picture on disk.
func pack(id string, value []byte) (string, string) {
	all := id + string(words().Encode(nil, value))
	return all[:len(id)], all[len(id):]
}

// Details are what DNS doesn't need of an instance, and lists of instances do.
type Details struct {
	Release  string            `json:"release"`
	Image    string            `json:"image"`
	Command  string            `json:"command"`
	Restarts int               `json:"restarts"`
	Tags     map[string]string `json:"tags"`
	Observed time.Time         `json:"observed"`
}

// Details returns what is registered besides, which is the caller's: a part of
// [Instance.Registered], in a third of the time.
func (i *Instance) Details() (d Details) {
	// It was decoded before, so what can't be now was made by hand.
	_ = jsonv2.Unmarshal(i.value(), &d)
	return d
}

// value is the value that the registry has, which is the caller's; nil if there is
// none.
func (i *Instance) value() []byte {
	if i.packed == "" {
		return nil
	}
	value, err := words().Decode(nil, []byte(i.packed))
	if err != nil {
		// Memory that changes by itself is nothing to go on with.
		panic("the value of instance " + i.id + ": " + err.Error())
	}
	return value
}
