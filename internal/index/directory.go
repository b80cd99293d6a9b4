package index

import "unsafe"

// directory finds services by <service>.<app>.
type directory = trie[string, listed, *listed]

// listed is a service as it stands in the directory: what nearly every lookup
// needs of it, and no more, in as many octets as a line of the cache has. In a
// large rack each leap through its memory is a wait, and the services
// themselves, which take twice as much, are leapt to by answers alone.
type listed struct {
	service *Service
	// told is how many of the service's few endpoints everybody gets, elsewhere
	// if it depends on who asks, or if there are more.
	told uint8
	// label is the name, if it is short enough, which nearly all are; length is
	// its own, else 0.
	length uint8
	label  [54]byte
}

// elsewhere says that only the service knows what an asker gets.
const elsewhere = fewEndpoints + 1

// few must come first: see [listed.endpoints].
const _ = -unsafe.Offsetof(Service{}.few)

// list returns the entry of a service. It is as old as the views are.
func list(v *Service) listed {
	l := listed{service: v, told: v.told}
	if !v.alike() {
		l.told = elsewhere
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
	if l.told == elsewhere {
		return l.service.of(a)
	}
	// As service.few[:told], but without the look at the service by which Go
	// finds out whether there is one: the caller may not need it at all, and
	// should not wait for it before it gets so far.
	return unsafe.Slice((*Endpoint)(unsafe.Pointer(l.service)), l.told) //nolint:gosec // see above
}
