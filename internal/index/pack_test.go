package index

import (
	"bytes"
	"slices"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// What the registry has comes out as it went in, also what isn't known.
func TestPack(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`{}`, ` { "id" : "3485248b1d18" } `, `{"id":"3485248b1d18","unknown":[1,2,3]}`,
		string(benchEntry(t, 7, 1, 1, 47000).Value), `{"tags":{"a":"` + string(bytes.Repeat([]byte("xyz"), 20_000)) + `"}}`,
	} {
		i := &Instance{}
		i.id, i.packed = pack("3485248b1d18", []byte(value))
		if got := string(i.value()); got != value || i.id != "3485248b1d18" {
			t.Errorf("%s of %q came out as %q", i.id, value, got)
		}
	}
	if len(words().Encode(nil, benchEntry(t, 7, 1, 1, 47000).Value)) > 300 {
		t.Error("a usual value isn't made smaller")
	}
}

// Instances of a service that have the same ports have them in common, and one
// that has others doesn't.
func TestPortsShared(t *testing.T) {
	t.Parallel()
	x := openBench(t)
	x.Feed().Update([]registry.Entry{benchEntry(t, 1, 0, 1, 47000), benchEntry(t, 1, 1, 2, 47001)})
	odd := benchEntry(t, 1, 2, 3, 47002)
	odd.Value = bytes.Replace(odd.Value, []byte(`"container":3000`), []byte(`"container":3001`), 1)
	x.Feed().Update([]registry.Entry{odd})
	all := x.Snapshot().service("service-1.app-0").Instances()
	if len(all) != 3 || &all[0].ports[0] != &all[1].ports[0] {
		t.Errorf("%d instances; two that are alike have ports of their own", len(all))
	}
	if at := slices.IndexFunc(all, func(i *Instance) bool { return i.ports[0].Container == 3001 }); at < 0 {
		t.Error("the odd port is lost")
	}
}
