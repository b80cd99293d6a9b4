package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

func checkNamespaces(_ context.Context, s *scene) []Result {
	snapshot, err := s.picture()
	if err != nil {
		return skipped("namespaces: %s", err)
	}
	var found []Result
	for _, c := range snapshot.Clashes() {
		found = append(found, warned("give the others another one (label rackdns.namespace)", "namespace %s: app %s holds it, claimed in vain by %s", c.Namespace, c.Winner, some(c.Apps)))
	}
	return orPassed(found, "none is claimed twice")
}

func checkAliases(_ context.Context, s *scene) []Result {
	snapshot, err := s.picture()
	if err != nil {
		return skipped("aliases: %s", err)
	}
	var found []Result
	for _, c := range snapshot.AliasClashes() {
		found = append(found, warned("give one of them another name", "alias %s of app %s: a %s has that name, it is in vain for %s", c.Name, c.App, c.Owner, some(c.Instances)))
	}
	return orPassed(found, "each leads somewhere")
}

// checkServices looks for services that have instances, none of which serves.
func checkServices(_ context.Context, s *scene) []Result {
	snapshot, err := s.picture()
	if err != nil {
		return skipped("services: %s", err)
	}
	var found []Result
	services, serving, left := 0, 0, 0
	for a := range snapshot.Apps() {
		for v := range snapshot.Services(a) {
			all := v.Instances()
			if len(all) == 0 {
				continue
			}
			services++
			n := 0
			for _, i := range all {
				if i.Serving() {
					n++
				}
			}
			serving, left = serving+n, left+len(all)-n
			if n == 0 {
				name := v.Name() + "." + a.Name
				found = append(found, failed("rackdns ps "+a.Name+" --service "+v.Name()+" lists them; rackdns resolve "+name+" says why each is left out", "service %s: none of its instances serves: %s", name, states(all)))
			}
		}
	}
	return orPassed(found, "%s, %s serving, %d not", several(services, "service"), several(serving, "instance"), left)
}

// states counts instances by how they are.
func states(all []*index.Instance) string {
	count := map[string]int{}
	for _, i := range all {
		state := i.State()
		if i.Node() != registry.NodeAPI {
			state += " on " + i.Node()
		}
		count[state]++
	}
	var words []string
	for _, state := range slices.Sorted(maps.Keys(count)) {
		words = append(words, fmt.Sprintf("%d %s", count[state], state))
	}
	return strings.Join(words, ", ")
}
