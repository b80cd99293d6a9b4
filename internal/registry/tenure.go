package registry

import "time"

// handedOn is how long an app may be gone from a node and still have had its
// name all the time: a deployment that stops the old before it starts the new.
const handedOn = time.Hour

// tenures knows since when each app has had its namespace on a node, so that the
// containers of a rolling deployment hand that on to one another, and the last of
// the old ones takes nothing with it: see [Instance.NamespaceSince]. After a
// restart it knows what the registry says of the node's containers.
//
// What an instance is told once stays, or each would be written again whenever
// an older one is met.
type tenures struct {
	// clock is the system's if it is nil.
	clock func() time.Time
	of    map[tenureKey]*tenure
	// keys are the names under which the instances are in of, by ID.
	keys map[string]tenureKey
	// session is whose registered instances are known.
	session *session
}

type tenureKey struct{ app, namespace string }

// inheritance is since when an app has had a namespace by what others know, and
// when that was learned: it is worth nothing once the app may be gone for long.
type inheritance struct{ since, learned time.Time }

// Inherit states since when an app has had a namespace, as it is known from
// elsewhere: a container of it on this node takes that over.
func (p *Publisher) Inherit(app, namespace string, since time.Time) {
	key := tenureKey{app, namespace}
	p.mu.Lock()
	known := p.inherited[key]
	news := known.since.IsZero() || since.Before(known.since)
	p.inherited[key] = inheritance{since, p.tenures.now()}
	p.mu.Unlock()
	if news {
		p.change(func() { p.heirs[key] = true })
	}
}

// inheritedBy returns what an app's first container takes over, the zero time if
// that is nothing.
func (p *Publisher) inheritedBy(key tenureKey) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := p.inherited[key]
	if p.tenures.now().Sub(is.learned) > handedOn {
		delete(p.inherited, key)
		return time.Time{}
	}
	return is.since
}

// inherit gives what was inherited of late to one container of each app, if none
// tells of it yet.
func (s *session) inherit() {
	t := &s.p.tenures
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for key := range s.p.heirs {
		delete(s.p.heirs, key)
		is, since := t.of[key], s.p.inherited[key].since
		if is == nil || !since.Before(is.since) {
			// The first container that comes asks by itself.
			continue
		}
		is.since = since
		heir := ""
		for id := range is.living {
			if heir == "" || id < heir {
				heir = id
			}
		}
		if heir != "" {
			is.living[heir] = since
			s.p.dirty[heir] = true
		}
	}
}

// tenure is that of one app. Since when an instance has it, living says by ID.
type tenure struct {
	since, left time.Time
	living      map[string]time.Time
}

// handOn returns the instance that is to be registered under id, which may be
// nil, with what it has from those before it. It is the session's goroutine's.
func (s *session) handOn(id string, want *Instance) *Instance {
	t := &s.p.tenures
	if t.session != s {
		t.session = s
		s.recall(t)
	}
	if want != nil && want.Hidden {
		// Who isn't told has no name to hold.
		t.leave(id)
		return want
	}
	if want == nil || t.keys[id] != (tenureKey{want.App, want.Namespace}) {
		if heir := t.leave(id); heir != "" {
			s.p.change(func() { s.p.dirty[heir] = true })
		}
	}
	if want == nil {
		return nil
	}
	since := t.enter(want, s.p.inheritedBy(tenureKey{want.App, want.Namespace}))
	if !since.Before(want.Started) {
		return want
	}
	i := *want
	i.NamespaceSince = since
	return &i
}

// recall takes over what the registry says of the node's instances, and forgets
// those that went while there was no session.
func (s *session) recall(t *tenures) {
	for id := range t.keys {
		if _, held := s.held[id]; held {
			continue
		}
		if want, _ := s.p.wanted(id); want == nil {
			t.leave(id)
		}
	}
	for id, h := range s.held {
		k := Key{Kind: KindInstance, Owner: s.p.cfg.Node.Node, Name: id}
		if i, err := DecodeInstance(k, h.value); err == nil && t.keys[id] == (tenureKey{}) {
			t.enter(i, time.Time{})
		}
	}
}

// enter takes note of an instance and returns since when its app has its
// namespace, as far as this one is to tell. The first one takes over what is
// inherited, if that isn't zero.
func (t *tenures) enter(i *Instance, inherited time.Time) time.Time {
	if t.of == nil {
		t.of, t.keys = map[tenureKey]*tenure{}, map[string]tenureKey{}
	}
	key, now := tenureKey{i.App, i.Namespace}, t.now()
	if i.Started.IsZero() {
		return i.Started
	}
	own := i.Started
	if !i.NamespaceSince.IsZero() && i.NamespaceSince.Before(own) {
		own = i.NamespaceSince
	}
	is := t.of[key]
	if is == nil || len(is.living) == 0 && now.Sub(is.left) > handedOn {
		t.expire(now)
		if !inherited.IsZero() && inherited.Before(own) {
			own = inherited
		}
		is = &tenure{since: own, living: map[string]time.Time{}}
		t.of[key] = is
	}
	since, known := is.living[i.ID]
	if !known {
		since = is.since
	}
	if own.Before(since) {
		since = own
	}
	if since.Before(is.since) {
		is.since = since
	}
	is.living[i.ID], t.keys[i.ID] = since, key
	return since
}

// leave takes note that an instance is gone. If no other one tells since when
// the app has its namespace, it returns one that is to be written anew.
func (t *tenures) leave(id string) (heir string) {
	key, ok := t.keys[id]
	if !ok {
		return ""
	}
	delete(t.keys, id)
	is := t.of[key]
	delete(is.living, id)
	is.left = t.now()
	for other, since := range is.living {
		if !since.After(is.since) {
			return ""
		}
		if heir == "" || since.After(is.living[heir]) {
			heir = other
		}
	}
	if heir != "" {
		is.living[heir] = is.since
	}
	return heir
}

func (t *tenures) now() time.Time {
	if t.clock != nil {
		return t.clock()
	}
	return time.Now()
}

// expire forgets the apps that have been gone for too long.
func (t *tenures) expire(now time.Time) {
	for key, is := range t.of {
		if len(is.living) == 0 && now.Sub(is.left) > handedOn {
			delete(t.of, key)
		}
	}
}
