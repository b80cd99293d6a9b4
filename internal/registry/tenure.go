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
	since := t.enter(want)
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
			t.enter(i)
		}
	}
}

// enter takes note of an instance and returns since when its app has its
// namespace, as far as this one is to tell.
func (t *tenures) enter(i *Instance) time.Time {
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
