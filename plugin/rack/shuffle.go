package rack

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// candidate is something to be put in order: an endpoint, by its place before,
// or the address that it and others have.
type candidate struct {
	// key is by what it is put in order; before choose it tells the candidate from
	// others.
	key      uint64
	at       int32
	weight   uint32
	priority uint16
}

// shuffle orders by priority, the lower first, and at random within: each
// candidate comes first with a probability in proportion to its weight, and so
// on for those that remain. (Ordering by exponential variables of the rate of
// each weight is that: Efraimidis and Spirakis, 2006.) Only the first most of
// them need be in order.
func shuffle(cs []candidate, most int) {
	if alike(cs) {
		for n := range min(most, len(cs)-1) {
			o := n + rand.IntN(len(cs)-n)
			cs[n], cs[o] = cs[o], cs[n]
		}
		return
	}
	for n := range cs {
		cs[n].key = sortable(rand.ExpFloat64() / float64(max(cs[n].weight, 1)))
	}
	slices.SortFunc(cs, byKey)
}

// choose returns those most of the candidates that the client gets where not all
// can be told, in any order: by priority, the lower first, and by weight. It is
// the same choice each time, and as long as a chosen candidate is there it stays
// chosen but for others that come before it: rendezvous hashing with weights
// (Thaler and Ravishankar, 1998; Schindler and Schomaker, 2005).
func choose(cs []candidate, most int, client uint64) []candidate {
	if most >= len(cs) {
		return cs
	}
	if !alike(cs) {
		for n := range cs {
			c := &cs[n]
			u := (float64(mix(client^c.key)>>11) + 0.5) / (1 << 53) // in (0, 1)
			c.key = sortable(-math.Log1p(-u) / float64(max(c.weight, 1)))
		}
		selectFirst(cs, most)
		return cs[:most]
	}
	// The logarithms have the same order, and take longer. Most of those that come
	// later are left out at first sight.
	limit, early := math.MaxUint64/uint64(len(cs))*uint64(most+most/4+16), 0
	if most+most/4+16 >= len(cs) {
		limit = math.MaxUint64
	}
	for n := range cs {
		if cs[n].key = mix(client ^ cs[n].key); cs[n].key < limit {
			cs[n], cs[early] = cs[early], cs[n]
			early++
		}
	}
	if early < most {
		early = len(cs)
	}
	selectFirst(cs[:early], most)
	return cs[:most]
}

// sortable is a number, 0 or more, in the form of one that is compared faster.
func sortable(f float64) uint64 { return math.Float64bits(f) }

// mix spreads the bits of a number over all of them (Steele, Lea and Flood, 2014:
// the end of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// byKey orders by priority, and by key within.
func byKey(a, b candidate) int {
	if a.priority != b.priority {
		return cmp.Compare(a.priority, b.priority)
	}
	return cmp.Compare(a.key, b.key)
}

// selectFirst puts the n that come first by their keys before all others, in any
// order (Hoare's quickselect).
func selectFirst(cs []candidate, n int) {
	for len(cs) > 1 && n > 0 && n < len(cs) {
		pivot := cs[len(cs)/2]
		i, j := 0, len(cs)-1
		for i <= j {
			for byKey(cs[i], pivot) < 0 {
				i++
			}
			for byKey(pivot, cs[j]) < 0 {
				j--
			}
			if i <= j {
				cs[i], cs[j] = cs[j], cs[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			cs = cs[:j+1]
		case n > i:
			cs, n = cs[i:], n-i
		default:
			return
		}
	}
}

// alike reports whether no candidate comes before another one, as is usual.
func alike(cs []candidate) bool {
	for n := range cs {
		if cs[n].weight != cs[0].weight || cs[n].priority != cs[0].priority {
			return false
		}
	}
	return true
}
