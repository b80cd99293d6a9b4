package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Target is one pair of addresses of an instance, with the ports that are
// reached there: what an SRV record can name. In each family the number is the
// same.
type Target struct {
	// V4 and V6 are invalid where the target has no such address.
	V4, V6 netip.Addr
	Ports  []TargetPort
}

// TargetPort is a port at a target.
type TargetPort struct {
	// Index is the port's place among those of the instance.
	Index int
	// Number is the one to dial.
	Number uint16
}

// Targets groups what was reached, so that each SRV record says exactly where a
// port is: a port whose number differs between the families has a target for
// each. The first is that of the lowest port.
func Targets(verdicts []Verdict) []Target {
	order := make([]int, len(verdicts))
	for n := range verdicts {
		order[n] = n
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(verdicts[a].Port.Number, verdicts[b].Port.Number) })
	var all []Target
	add := func(p int, v4, v6 netip.Addr, number uint16) {
		at := slices.IndexFunc(all, func(t Target) bool { return t.V4 == v4 && t.V6 == v6 })
		if at < 0 {
			at = len(all)
			all = append(all, Target{V4: v4, V6: v6})
		}
		all[at].Ports = append(all[at].Ports, TargetPort{p, number})
	}
	for _, p := range order {
		four, six := verdicts[p].V4.Addr, verdicts[p].V6.Addr
		switch {
		case four.IsValid() && six.IsValid() && four.Port() == six.Port():
			add(p, four.Addr(), six.Addr(), four.Port())
			continue
		case !four.IsValid() && !six.IsValid():
			continue
		}
		if four.IsValid() {
			add(p, four.Addr(), netip.Addr{}, four.Port())
		}
		if six.IsValid() {
			add(p, netip.Addr{}, six.Addr(), six.Port())
		}
	}
	return all
}

// Label is what stands before an instance's ID in the name of a target that is
// not its first: the address in a form that is a DNS label, 100-64-0-7 or
// fd00--2.
func (t *Target) Label() string {
	a := t.V4
	if !a.IsValid() {
		a = t.V6
	}
	s := strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
	// A label neither begins nor ends in a dash.
	if strings.HasPrefix(s, "-") {
		s = "0" + s
	}
	if strings.HasSuffix(s, "-") {
		s += "0"
	}
	return s
}

// Addrs are the addresses to tell for the instance as a whole: in each family
// that of its lowest port.
func Addrs(targets []Target) (v4, v6 netip.Addr) {
	for n := range targets {
		if t := &targets[n]; !v4.IsValid() {
			v4 = t.V4
		}
		if t := &targets[n]; !v6.IsValid() {
			v6 = t.V6
		}
	}
	return v4, v6
}
