package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// folded knows which names that somebody gave became one: a_b and a.b are both
// a-b, and what was meant as two services is one.
type folded struct {
	// given holds, by service and app, the names that it was made of, and the
	// containers that have them.
	given map[string]map[string]map[string]bool
	// of is where a container is in given.
	of map[string][2]string
	// said are those that the log was told of.
	said map[string]bool
}

func newFolded() folded {
	return folded{given: map[string]map[string]map[string]bool{}, of: map[string][2]string{}, said: map[string]bool{}}
}

// note takes in by what name a container is known, and what that was made of. It
// returns all that the name was made of if that is several, and news.
func (f *folded) note(id, name, given string) []string {
	if f.of[id] != [2]string{name, given} {
		f.forget(id)
		if f.given[name] == nil {
			f.given[name] = map[string]map[string]bool{}
		}
		if f.given[name][given] == nil {
			f.given[name][given] = map[string]bool{}
		}
		f.given[name][given][id] = true
		f.of[id] = [2]string{name, given}
	}
	if len(f.given[name]) < 2 || f.said[name] {
		return nil
	}
	f.said[name] = true
	return slices.Sorted(maps.Keys(f.given[name]))
}

// forget takes a container out.
func (f *folded) forget(id string) {
	at, ok := f.of[id]
	if !ok {
		return
	}
	delete(f.of, id)
	all := f.given[at[0]]
	if delete(all[at[1]], id); len(all[at[1]]) == 0 {
		delete(all, at[1])
	}
	if len(all) < 2 {
		delete(f.said, at[0])
	}
	if len(all) == 0 {
		delete(f.given, at[0])
	}
}

// folds returns all names that are made of several, by app and service.
func (f *folded) folds() []Folded {
	all := []Folded{}
	for name, given := range f.given {
		if len(given) < 2 {
			continue
		}
		service, app, _ := strings.Cut(name, ".")
		all = append(all, Folded{app, service, givenWords(slices.Sorted(maps.Keys(given)))})
	}
	slices.SortFunc(all, func(x, y Folded) int {
		return cmp.Or(strings.Compare(x.App, y.App), strings.Compare(x.Service, y.Service))
	})
	return all
}

// givenWords says of each name that was given of which app it is.
func givenWords(given []string) []string {
	for n := range given {
		given[n] = strings.Replace(printableParts(given[n]), "/", " of app ", 1)
	}
	return given
}

// tellFolded logs once that names which somebody gave are the same here.
func (t *tracker) tellFolded(id string, d *decision) {
	i := d.instance
	if i == nil {
		t.folded.forget(id)
		return
	}
	if given := t.folded.note(id, i.Service+"."+i.App, d.given); given != nil {
		t.log.Warn("several names become one, and their containers one service: rename one of them, or label it rackdns.service",
			"service", i.Service, "app", i.App, "names", givenWords(given))
	}
}

// printableParts makes both parts of app/service fit for a log, the service first.
func printableParts(s string) string {
	app, service, _ := strings.Cut(s, "/")
	return printable(service) + "/" + printable(app)
}
