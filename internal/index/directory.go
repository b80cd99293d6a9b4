package index

import (
	"math"
	"unsafe"
)

// directory finds services by <service>.<app>.
type directory = trie[string, listed, *listed]

// listed is a service as it stands in the directory: what nearly every lookup
// needs of it, and no more, in as many octets as a line of the cache has. In a
// large rack each leap through its memory is a wait, and the services
// themselves, which take twice as much, are leapt to by answers alone.
//
// The label comes last: where entries don't begin with a line, all else is in
// one line still.
type listed struct {
	service *Service
	// outside is the first of the endpoints that an asker gets of whom nothing
	// is known, nil if they are the service's few, and told is how many they
	// are, elsewhere if too many.
	outside *Endpoint
	told    uint16
	// nearer tells that others may get other ones.
	nearer bool
	// label is the name, if it is short enough, which nearly all are; length is
	// its own, else 0.
	length uint8
	label  [44]byte
}

// elsewhere says that only the service knows how many endpoints there are.
const elsewhere = math.MaxUint16

// few must come first: see [listed.endpoints].
const _ = -unsafe.Offsetof(Service{}.few)

// list returns the entry of a service. It is as old as the views are.
func list(v *Service) listed {
	l := listed{service: v, told: uint16(v.told)}
	if v.more != nil {
		all := v.more.views.outside
		l.told = uint16(min(len(all), elsewhere)) //nolint:gosec // it fits
		l.nearer = v.more.views.local != nil
		if len(all) > len(v.few) {
			l.outside = &all[0]
		}
	}
	if name := v.name.full(); len(name) <= len(l.label) {
		l.length = uint8(copy(l.label[:], name))
	}
	return l
}

func (l *listed) key() string {
	if l.length == 0 {
		return l.service.name.full()
	}
	// Nobody changes the bytes once there is an entry.
	return unsafe.String(&l.label[0], l.length) //nolint:gosec // see above
}

// endpoints returns what the asker gets of the service.
func (l *listed) endpoints(a Asker) []Endpoint {
	if l.told == elsewhere || l.nearer && a.near() {
		return l.service.of(a)
	}
	first := l.outside
	if first == nil {
		// As service.few[:told], but without the look at the service by which
		// Go finds out whether there is one: the caller may not need it at all,
		// and should not wait for it before it gets so far.
		first = (*Endpoint)(unsafe.Pointer(l.service)) //nolint:gosec // see above
	}
	return unsafe.Slice(first, l.told) //nolint:gosec // as many as there are
}
