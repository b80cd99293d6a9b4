package agent

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/pkg/namesgenerator"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// aliases returns the names by which a container is found beside its service's,
// within its app: those that somebody gave it, not those that a program made up.
func (d *decision) aliases(i *registry.Instance) []registry.Alias {
	var all []registry.Alias
	left := 0
	add := func(port uint16, value, source string, name string) {
		if name == i.Service {
			return
		}
		if err := registry.CheckLabel("alias", name); err != nil {
			d.note("%s=%s: can't be an alias: %s", source, registry.Quote(value), err)
			return
		}
		a := registry.Alias{Name: name, Port: port}
		if slices.ContainsFunc(all, func(o registry.Alias) bool { return o.Name == name && (o.Port == 0 || o == a) }) {
			return
		}
		if len(all) == registry.MaxAliases {
			left++
			return
		}
		all = append(all, a)
		field := "alias"
		if port != 0 {
			field = fmt.Sprintf("alias for port %d", port)
		}
		d.choose(field, name, source)
	}
	for value := range strings.SplitSeq(d.facts.labels[labelAliases], ",") {
		if value = strings.TrimSpace(value); value != "" {
			add(0, value, "label "+labelAliases, toLabel(value))
		}
	}
	d.portAliases(i, add)
	dotted := func(s string) string { return toLabel(strings.ReplaceAll(s, ".", "-")) }
	if f := d.facts; f.namedByHand() {
		add(0, f.name, "the container's name", dotted(f.name))
	}
	for _, a := range d.facts.attachments {
		for _, name := range a.aliases {
			// Compose adds the container's.
			if name != d.facts.name {
				add(0, name, "alias on network "+printable(a.name), dotted(name))
			}
		}
	}
	if left > 0 {
		d.note("%d more aliases: only %d are registered", left, registry.MaxAliases)
	}
	return all
}

const labelAliases = "rackdns.aliases"

// portAliases adds the names that registrator would give to services that are
// one port of a container each. Where there is but one port, it is the service's
// name: see registratorName.
func (d *decision) portAliases(i *registry.Instance, add func(port uint16, value, source, name string)) {
	var numbers []uint16
	for _, p := range i.Ports {
		numbers = append(numbers, p.Container)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	if len(numbers) < 2 {
		return
	}
	for _, n := range numbers {
		value, source := d.registrator(fmt.Sprintf("SERVICE_%d_NAME", n))
		// An image may name its port, but not a service.
		if value != "" && !d.facts.fromImage[source] {
			add(n, value, source, toLabel(value))
		}
	}
}

var (
	composeRecreated = regexp.MustCompile(`^[0-9a-f]{12}_`)
	generated        = regexp.MustCompile(`^([a-z]+)_([a-z]+)[0-9]?$`)
)

// namedByHand reports whether somebody chose the container's name, rather than
// the engine, Compose, Swarm or `rackdns up`.
func (f *facts) namedByHand() bool {
	for key := range f.labels {
		if strings.HasPrefix(key, label.UpPrefix) || strings.HasPrefix(key, "com.docker.swarm.") {
			return false
		}
	}
	project, service := f.labels["com.docker.compose.project"], f.labels["com.docker.compose.service"]
	if project != "" && service != "" {
		name := composeRecreated.ReplaceAllString(f.name, "")
		for _, dash := range []string{"-", "_"} {
			if number, ok := strings.CutPrefix(name, project+dash+service+dash); ok && strings.Trim(number, "0123456789") == "" {
				return false
			}
		}
		return true
	}
	return f.name != "" && !isGenerated(f.name)
}

// generator has the words of which the engine makes names. Its package tells them
// by chance only, so it is asked until it surely has told them all.
var generator = sync.OnceValue(func() (words struct{ left, right map[string]bool }) {
	words.left, words.right = map[string]bool{}, map[string]bool{}
	// Of some hundred, and some two hundred: that one is left out has a chance of
	// less than one to ten to the sixteenth.
	const draws = 10000
	for range draws {
		left, right, _ := strings.Cut(namesgenerator.GetRandomName(0), "_")
		words.left[left], words.right[right] = true, true
	}
	return words
})

// isGenerated reports whether a name is one that the engine gives to a container
// without a name.
func isGenerated(name string) bool {
	m := generated.FindStringSubmatch(name)
	return len(m) == 3 && generator().left[m[1]] && generator().right[m[2]]
}
