package rack

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// candidate is something to be put in order: an endpoint, by its place before,
// or the address that it and others have.
type candidate struct {
	key      float64
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
		cs[n].key = rand.ExpFloat64() / float64(max(cs[n].weight, 1))
	}
	slices.SortFunc(cs, func(a, b candidate) int {
		if a.priority != b.priority {
			return cmp.Compare(a.priority, b.priority)
		}
		return cmp.Compare(a.key, b.key)
	})
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
