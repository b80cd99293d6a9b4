package index

import "unsafe"

// directory finds services by <service>.<app>.
type directory = trie[string, listed, *listed]

// listed is a service as it stands in the directory: what nearly every lookup
// needs of it, and no more, in as many octets as a line of the cache has. In a
// large rack each leap through its memory is a wait, and the services
// themselves, which take four times as much, are leapt to by answers alone.
type listed struct {
	// outside is what an asker gets of whom nothing is known, as in the views.
	outside view
	service *Service
	// nearer says that askers of this node, or on some network, may get others.
	nearer bool
	// label is the name, if it is short enough, which nearly all are; length is
	// its own, else 0.
	length uint8
	label  [30]byte
}

// list returns the entry of a service. It is as old as the views are.
func list(v *Service) listed {
	l := listed{outside: v.views.outside, service: v, nearer: v.views.local != nil}
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
	if l.nearer && (a.onNode || len(a.networks) > 0) {
		return l.service.views.of(a)
	}
	return l.outside
}
