package index

import (
	"slices"

	"github.com/rackdns/rackdns/internal/registry"
)

// hosts are the instances that no agent watches, by "service " and the name of
// their service, and by "repo " and the repository of its source, in no order.
type hosts = pairs[string, []*Instance]

const (
	hostsOfService = "service "
	hostsOfRepo    = "repo "
)

// Hosts returns the registered hosts of services of a name, of whichever apps. The
// caller must not change them.
func (s *Snapshot) Hosts(service string) []*Instance {
	p, _ := s.hosts.get(hostsOfService + registry.FoldName(service))
	return p.value
}

// RepoHosts returns the registered hosts of services whose source is in a
// repository. The caller must not change them.
func (s *Snapshot) RepoHosts(repo string) []*Instance {
	p, _ := s.hosts.get(hostsOfRepo + repo)
	return p.value
}

// Repo returns the repository of the source of the instance's service, empty if it
// isn't known.
func (i *Instance) Repo() string {
	if i.rare == nil {
		return ""
	}
	return i.rare.repo
}

// changeHosts has a registered host found, or not any more.
func (b *builder) changeHosts(i *Instance, is bool) {
	if i.Node() != registry.NodeAPI {
		return
	}
	keys := []string{hostsOfService + i.Service()}
	if i.Repo() != "" {
		keys = append(keys, hostsOfRepo+i.Repo())
	}
	for _, key := range keys {
		old, _ := b.hosts.get(key)
		all := slices.DeleteFunc(slices.Clone(old.value), func(o *Instance) bool { return o == i })
		if is {
			all = append(all, i)
		}
		if len(all) == 0 {
			b.hosts.delete(b.owner, key)
			continue
		}
		b.hosts.set(b.owner, pair[string, []*Instance]{key, all})
	}
}
