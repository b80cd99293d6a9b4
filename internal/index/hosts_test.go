package index

import (
	"net/netip"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// Registered hosts are found by service and by repository, containers aren't, and
// nothing is left of what has gone.
func TestHosts(t *testing.T) {
	t.Parallel()
	x := openBench(t)
	layout := x.client.Layout()
	entry := func(app, repo, at string, revision int64) registry.Entry {
		i := registry.HostInstance(app, "web", netip.MustParseAddrPort(at))
		i.Repo, i.Weight = repo, 1
		value, err := registry.Encode(i)
		if err != nil {
			t.Fatal(err)
		}
		return registry.Entry{Key: layout.Instance(registry.NodeAPI, app+"/web/"+i.Host.String()+"~80"), Value: value, ModRevision: revision}
	}
	count := func(service, repo int) {
		t.Helper()
		s := x.Snapshot()
		if a, b := len(s.Hosts("web")), len(s.RepoHosts("r")); a != service || b != repo {
			t.Errorf("%d hosts of the service and %d of the repository, want %d and %d", a, b, service, repo)
		}
	}
	one, two := entry("default", "r", "10.0.0.1:80", 1), entry("shop", "", "10.0.0.2:80", 1)
	x.Feed().Update([]registry.Entry{one, two, benchEntry(t, 1, 0, 1, 47000)})
	count(2, 1)
	before := x.Snapshot()
	x.Feed().Update([]registry.Entry{entry("default", "", "10.0.0.1:80", 2)})
	count(2, 0)
	x.Feed().Update([]registry.Entry{{Key: one.Key, ModRevision: 3}, {Key: two.Key, ModRevision: 3}})
	count(0, 0)
	if size := x.builder.hosts.size; size != 0 {
		t.Errorf("%d entries are left", size)
	}
	if len(before.Hosts("web")) != 2 || len(before.RepoHosts("r")) != 1 {
		t.Error("a snapshot changed")
	}
}
