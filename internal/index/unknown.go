package index

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/near"
	"github.com/rackdns/rackdns/internal/registry"
)

// UnknownError says which part of a name there is nothing of, and what there
// is instead.
type UnknownError struct {
	// What is the kind of the part, such as "service", Name the part itself,
	// Of where it was looked for, such as "app shop".
	What, Name, Of string
	// Known are those that there are.
	Known []string
}

// Error returns one line.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s %s: there is none in %s%s", e.What, registry.Quote(e.Name), e.Of, near.Instead(e.Name, e.Known))
}

// AppNamed is [Snapshot.App] with an error, an [UnknownError], in place of nil.
func (s *Snapshot) AppNamed(name string) (*App, error) {
	if a := s.App(name); a != nil {
		return a, nil
	}
	e := &UnknownError{What: "app", Name: name, Of: "the rack"}
	for a := range s.Apps() {
		e.Known = append(e.Known, a.Name)
	}
	return nil, e
}

// unknown says why Lookup finds nothing.
func (s *Snapshot) unknown(name string) error {
	name = registry.FoldName(name)
	rest, last := cutLast(name)
	a, err := s.AppNamed(last)
	if _, held := s.displaced[last]; held {
		a = s.Holder(last)
	}
	switch {
	case err == nil:
	case last == labelResource:
		return unknownResource(rest, "the rack", s.Resources())
	default:
		return err
	}
	rest, last = cutLast(rest)
	if name, ok := a.services.get(last); ok {
		if v := s.service(name.value); v != nil {
			return v.unknown(rest)
		}
	}
	if last == labelResource {
		return unknownResource(rest, "app "+a.Name, a.Resources())
	}
	if alias, ok := a.aliases.get(last); ok && a.owns(last) == "" {
		return alias.value.unknown(rest)
	}
	e := &UnknownError{What: "service", Name: last, Of: "app " + a.Name}
	for v := range s.Services(a) {
		e.Known = append(e.Known, v.Name())
	}
	for v := range s.Aliases(a) {
		e.Known = append(e.Known, v.Name())
	}
	if _, ok := a.databases.get(last); ok {
		e = &UnknownError{What: "name", Name: rest, Of: "resource " + last + " of app " + a.Name}
	}
	return e
}

func unknownResource(name, of string, all iter.Seq[*Resource]) error {
	e := &UnknownError{What: "resource", Name: name, Of: of}
	for r := range all {
		e.Known = append(e.Known, r.Name)
	}
	return e
}

// unknown says why there is nothing of that name below the service.
func (v *Service) unknown(name string) error {
	e := &UnknownError{Name: name, Of: fmt.Sprintf("service %s of app %s", v.Name(), v.App())}
	if v.alias {
		e.Of = fmt.Sprintf("alias %s of app %s", v.Name(), v.App())
	}
	rest, last := cutLast(name)
	if last == labelTCP || last == labelUDP {
		e.What, e.Name = "port", strings.TrimPrefix(rest, "_")+strings.Replace(last, "_", "/", 1)
		e.Known = v.portNames()
		return e
	}
	e.What = "instance"
	for _, i := range v.Instances() {
		e.Known = append(e.Known, i.ID())
	}
	return e
}

// portNames are the ports by which SRV records can be asked for, each in its
// most telling form: by its name, if it has one.
func (v *Service) portNames() []string {
	var all []string
	add := func(name string, number uint16, protocol string) {
		if name == "" {
			name = fmt.Sprint(number)
		}
		name += "/" + protocol
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if declared := v.Declared(); declared != nil {
		for _, p := range declared.Ports {
			add(p.Name, p.Container, p.Protocol)
		}
	}
	for _, i := range v.Instances() {
		for _, p := range i.Ports() {
			if !v.has(i, &p) {
				continue
			}
			add(p.Name(), p.Container, p.Protocol())
		}
	}
	slices.Sort(all)
	return all
}
