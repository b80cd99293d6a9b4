package registry_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// However a digest came about, it is that of the keys that there are.
func TestDigest(t *testing.T) {
	t.Parallel()
	of := func(keys map[string]int64) (d registry.Digest) {
		for k, r := range keys {
			d.Set(k, 0, r)
		}
		return d
	}
	var d registry.Digest
	keys := map[string]int64{}
	for r := int64(1); r < 5000; r++ {
		k := fmt.Sprint(rand.IntN(300))
		to := r
		if rand.IntN(3) == 0 {
			to = 0
		}
		d.Set(k, keys[k], to)
		if keys[k] = to; to == 0 {
			delete(keys, k)
		}
	}
	if d != of(keys) || d.Keys() != int64(len(keys)) {
		t.Errorf("the digest of %d keys counts %d, or depends on how they came", len(keys), d.Keys())
	}
	for _, c := range []struct {
		name          string
		index, actual map[string]int64
		want          registry.Difference
	}{
		{"both empty", nil, nil, registry.Difference{}},
		{"equal", map[string]int64{"a": 1, "b": 2}, map[string]int64{"a": 1, "b": 2}, registry.Difference{}},
		{"a key is missing", map[string]int64{"a": 1}, map[string]int64{"a": 1, "b": 2}, registry.Difference{Missing: 1}},
		{"a key is too many", map[string]int64{"a": 1, "b": 2}, map[string]int64{"b": 2}, registry.Difference{Extra: 1}},
		{"a key is old", map[string]int64{"a": 1}, map[string]int64{"a": 3}, registry.Difference{Stale: 1}},
		{"the first of etcd's revisions counts", map[string]int64{"a": 1}, nil, registry.Difference{Extra: 1}},
	} {
		index, actual := of(c.index), of(c.actual)
		if got := index.Compare(&actual); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	// Sums of the keys and of the revisions alone would be equal. The keys must
	// not always be in different pages.
	swapped := 0
	for n := range 200 {
		x, y := fmt.Sprint("x", n), fmt.Sprint("y", n)
		index, actual := of(map[string]int64{x: 1, y: 2}), of(map[string]int64{x: 2, y: 1})
		if (index.Compare(&actual) == registry.Difference{Stale: 1}) {
			swapped++
		} else if (index.Compare(&actual) == registry.Difference{}) {
			t.Errorf("%s and %s may swap their revisions", x, y)
		}
	}
	if swapped == 0 {
		t.Error("no two keys were in one page")
	}
}
