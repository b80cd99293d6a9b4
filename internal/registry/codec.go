package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"unicode"

	// Twice as fast as encoding/json, strict about names that are there twice,
	// and on its way to become it: a list of 300,000 instances is worth it.
	jsonv2 "github.com/go-json-experiment/json"
)

// MaxValue is the largest value that is read or written, in bytes. It is far
// below etcd's own limit and far above what any instance needs.
const MaxValue = 64 << 10

// ErrTooLarge is returned for a value over [MaxValue].
var ErrTooLarge = errors.New("value over 64 KiB")

// Encode returns v, one of this package's types, as its registry value.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxValue {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	return b, nil
}

// Overlay encodes v, one of this package's types, over old: fields that v doesn't have but old does are
// kept, since another program may have put them there. An old value that is
// not a JSON object counts as absent.
func Overlay(old []byte, v any) ([]byte, error) {
	b, err := Encode(v)
	if err != nil {
		return nil, err
	}
	var was, is map[string]json.RawMessage
	if json.Unmarshal(old, &was) != nil || was == nil {
		return b, nil
	}
	if err := json.Unmarshal(b, &is); err != nil {
		return nil, err
	}
	// A field that v has and leaves out is one that is empty now.
	for _, f := range reflect.VisibleFields(reflect.Indirect(reflect.ValueOf(v)).Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(was, name)
	}
	maps.Copy(was, is)
	return Encode(was)
}

// DecodeInstance decodes and checks the value of an instance key.
func DecodeInstance(k Key, value []byte) (*Instance, error) {
	return new(InstanceDecoder).Decode(k, value)
}

// InstanceDecoder decodes the values of instance keys into one piece of memory:
// a reader takes in hundreds of thousands, one after the other.
type InstanceDecoder struct {
	registered
	weight int
}

// registered is an instance as it is decoded. Of a field that is there twice the
// outer one counts: a weight of null is none, and not 0.
type registered struct {
	plainInstance
	Weight *int `json:"weight"`
}

// plainInstance is an [Instance] without its methods, one of which would stand in
// the way.
type plainInstance Instance

// Decode is DecodeInstance, whose result holds until the next call.
func (d *InstanceDecoder) Decode(k Key, value []byte) (*Instance, error) {
	i := (*Instance)(&d.plainInstance)
	// What was in the slices before is overwritten, field by field: version 2 of
	// encoding/json empties an element first, version 1 doesn't.
	*i = Instance{Ports: i.Ports[:0], Networks: i.Networks[:0]}
	d.weight = DefaultWeight
	d.Weight = &d.weight
	if err := decode(value, &d.registered); err != nil {
		return nil, err
	}
	if i.Weight = DefaultWeight; d.Weight != nil {
		i.Weight = *d.Weight
	}
	if i.Namespace == "" {
		i.Namespace = i.App
	}
	return i, i.check(k)
}

// CheckWeight checks the weight of an instance.
func CheckWeight(weight int) error {
	if weight < MinWeight || weight > MaxWeight {
		return fmt.Errorf("weight %d: not in %d to %d", weight, MinWeight, MaxWeight)
	}
	return nil
}

// DecodeNode decodes and checks the value of a node key.
func DecodeNode(k Key, value []byte) (*Node, error) {
	n := new(Node)
	if err := decode(value, n); err != nil {
		return nil, err
	}
	if n.Node != k.Owner {
		return nil, fmt.Errorf("node %s: contradicts its key", Quote(n.Node))
	}
	for _, a := range n.Addresses {
		if err := CheckAddr("address", a); err != nil {
			return nil, err
		}
	}
	for _, p := range n.Links {
		if !p.IsValid() {
			return nil, errors.New("links: one has no subnet")
		}
	}
	for _, w := range n.Networks {
		if w.ID == "" {
			return nil, fmt.Errorf("network %s: has no ID", Quote(w.Name))
		}
		for _, p := range w.Subnets {
			if !p.IsValid() {
				return nil, fmt.Errorf("network %s: one of its subnets is empty", Quote(w.Name))
			}
		}
	}
	return n, CheckNode(n.Node)
}

// DecodeService decodes and checks the value of a declared service's key.
func DecodeService(k Key, value []byte) (*Service, error) {
	s := new(Service)
	if err := decode(value, s); err != nil {
		return nil, err
	}
	if s.Namespace == "" {
		s.Namespace = s.App
	}
	if s.App != k.Owner || s.Service != k.Name {
		return nil, fmt.Errorf("service %s of app %s: contradicts its key", Quote(s.Service), Quote(s.App))
	}
	return s, s.Check()
}

// DecodeResource decodes and checks the value of a resource's key.
func DecodeResource(k Key, value []byte) (*Resource, error) {
	r := new(Resource)
	if err := decode(value, r); err != nil {
		return nil, err
	}
	if appOrRack(r.App) != k.Owner || r.Name != k.Name {
		return nil, fmt.Errorf("resource %s of app %s: contradicts its key", Quote(r.Name), Quote(r.App))
	}
	return r, r.Check()
}

func decode(value []byte, v any) error {
	if len(value) > MaxValue {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(value))
	}
	if err := jsonv2.Unmarshal(value, v); err != nil {
		// The decoder's message may carry a piece of the value.
		return fmt.Errorf("not the JSON of its kind: %s", oneLine(err.Error()))
	}
	return nil
}

// oneLine makes a message of others fit for a line of a log.
func oneLine(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Check returns an error that names the first thing about the instance that
// could harm a reader.
func (i *Instance) Check() error {
	if err := CheckLabel("id", i.ID); err != nil {
		return err
	}
	if err := i.checkIdentity(); err != nil {
		return err
	}
	if err := CheckWeight(i.Weight); err != nil {
		return err
	}
	if i.Answers < 0 || i.Answers > MaxAnswers {
		return fmt.Errorf("answers %d: not in 0 to %d", i.Answers, MaxAnswers)
	}
	if i.Priority < 0 || i.Priority > 65535 {
		return fmt.Errorf("priority %d: not in 0 to 65535", i.Priority)
	}
	switch i.Address {
	case AddressAuto, AddressHost, AddressContainer:
	default:
		return fmt.Errorf("address %s: neither host nor container", Quote(i.Address))
	}
	if i.Host.IsValid() {
		if err := CheckAddr("host", i.Host); err != nil {
			return err
		}
	}
	if r := i.Resource; r != nil {
		if err := CheckLabel("resource", r.Name); err != nil {
			return err
		}
		if err := CheckLabel("type of a resource", r.Type); err != nil {
			return err
		}
	}
	if len(i.Aliases) > MaxAliases {
		return fmt.Errorf("%d aliases: more than %d", len(i.Aliases), MaxAliases)
	}
	for _, a := range i.Aliases {
		if err := CheckLabel("alias", a.Name); err != nil {
			return err
		}
	}
	for n := range i.Ports {
		if err := i.Ports[n].check(); err != nil {
			return err
		}
	}
	for n := range i.Networks {
		if err := i.Networks[n].check(); err != nil {
			return err
		}
	}
	for _, a := range i.AsksFrom {
		if err := CheckAddr("asksFrom", a); err != nil {
			return err
		}
	}
	return nil
}

// checkIdentity checks the names. One that is hidden need not have any.
func (i *Instance) checkIdentity() error {
	if i.Hidden && i.App == "" {
		return nil
	}
	if err := CheckApp("app", i.App); err != nil {
		return err
	}
	if err := CheckApp("namespace", i.Namespace); err != nil {
		return err
	}
	if i.Hidden && i.Service == "" {
		return nil
	}
	return CheckLabel("service", i.Service)
}

func (i *Instance) check(k Key) error {
	if err := i.Check(); err != nil {
		return err
	}
	if k.Owner == NodeAPI {
		return i.checkHostKey(k.Name)
	}
	if i.Node != k.Owner || i.ID != k.Name {
		return fmt.Errorf("instance %s of node %s: contradicts its key", Quote(i.ID), Quote(i.Node))
	}
	return CheckNode(i.Node)
}

// checkPortNames is [CheckPortName] for all ports.
func (i *Instance) checkPortNames() error {
	for n := range i.Ports {
		if name := i.Ports[n].Name; name != "" {
			if err := CheckPortName("name of a port", name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Port) check() error {
	if p.Container == 0 {
		return errors.New("port 0: no container listens there")
	}
	if p.Protocol != TCP && p.Protocol != UDP {
		return fmt.Errorf("port %d: protocol %s is neither tcp nor udp", p.Container, Quote(p.Protocol))
	}
	if p.Name != "" {
		if err := CheckLabel("name of a port", p.Name); err != nil {
			return err
		}
	}
	for _, b := range p.Bindings {
		if b.Port == 0 {
			return fmt.Errorf("port %d: published on port 0", p.Container)
		}
		if err := CheckAddr("binding", b.IP); err != nil {
			return fmt.Errorf("port %d: %w", p.Container, err)
		}
	}
	for _, b := range p.Loopback {
		if b.Port == 0 || !b.IP.IsLoopback() || b.IP.Is4In6() || b.IP.Zone() != "" {
			return fmt.Errorf("port %d: loopback %s: is no loopback address with a port", p.Container, netip.AddrPortFrom(b.IP, b.Port))
		}
	}
	return nil
}

func (n *Network) check() error {
	if n.ID == "" {
		return fmt.Errorf("network %s: has no ID", Quote(n.Name))
	}
	if n.IPv4.IsValid() {
		if !n.IPv4.Is4() {
			return fmt.Errorf("ipv4 %s: is not IPv4", n.IPv4)
		}
		if err := CheckAddr("ipv4", n.IPv4); err != nil {
			return err
		}
	}
	if n.IPv6.IsValid() {
		if !n.IPv6.Is6() {
			return fmt.Errorf("ipv6 %s: is not IPv6", n.IPv6)
		}
		if err := CheckAddr("ipv6", n.IPv6); err != nil {
			return err
		}
	}
	return nil
}

// Check returns an error that names the first thing wrong with the service.
func (s *Service) Check() error {
	if err := CheckApp("app", s.App); err != nil {
		return err
	}
	if err := CheckLabel("service", s.Service); err != nil {
		return err
	}
	if err := CheckApp("namespace", s.Namespace); err != nil {
		return err
	}
	for _, p := range s.Ports {
		port := Port{Name: p.Name, Protocol: p.Protocol, Container: p.Container}
		if err := port.check(); err != nil {
			return err
		}
	}
	return nil
}

// Check returns an error that names the first thing wrong with the resource.
func (r *Resource) Check() error {
	if r.App != "" {
		if err := CheckApp("app", r.App); err != nil {
			return err
		}
	}
	if err := CheckLabel("resource", r.Name); err != nil {
		return err
	}
	// One that nobody knows the place of has none.
	if r.Host != "" {
		if err := CheckHost("host", r.Host); err != nil {
			return err
		}
	}
	return CheckLabel("type", r.Type)
}
