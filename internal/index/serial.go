package index

import (
	"cmp"
	"reflect"

	"github.com/rackdns/rackdns/internal/registry"
)

// serials are what the serial follows from: the revision of the last change
// that DNS shows, the same on every server, whenever it started.
//
// A list alone knows too little of it. It has no deletions, and its last
// changes may be some that don't show. What it does have is a lower bound: what
// is shown has come into being at some time, and that showed. From that bound
// on the changes are replayed, and the serial grows to what it has to be.
type serials struct {
	// offset is what is added to the revisions of the present history, since
	// there was another one before it.
	offset int64
	// before and knownTo are the serial and the revision from before a list.
	before, knownTo int64
	// floor is the lower bound, by the list.
	floor int64
	// listChanged says that the list changed something that shows, gap is the
	// revision before which changes were lost, 0 if none were.
	listChanged bool
	gap         int64
	// local is the least serial of the next change that shows, 0 if that is its
	// revision: what is over by time alone has no revision of its own, and no two
	// pictures may have one serial. It is over once the registry has gone further.
	// Taken says that the present picture has it.
	local int64
	taken bool
}

// nextSerial is called before the changes of another picture.
func (b *builder) nextSerial() {
	if b.taken {
		b.local, b.taken = b.local+1, false
	}
}

// shows moves the serial to that of a change at a revision.
func (b *builder) shows(revision int64) {
	if revision > b.local {
		b.local = 0
	} else {
		revision, b.taken = b.local, true
	}
	b.serial = max(b.serial, revision)
}

func (b *builder) beginSerial(reset bool) {
	if b.live {
		// Not if the last list was broken off: it has moved them.
		b.before, b.knownTo = b.serial, b.revision
	}
	b.floor, b.gap, b.listChanged = 0, 0, false
	if b.reset || reset {
		// Revisions of another history can be anything, and a serial never goes
		// back: a secondary would take no zone any more.
		b.offset += b.before
		b.local = 0
		b.serial, b.before, b.knownTo, b.revision = 0, 0, 0, 0
	}
	// From here on it says whether anything that shows is changed by the list.
	b.serial = 0
}

func (b *builder) endSerial() (from int64) {
	b.listChanged = b.serial > 0 && b.knownTo > 0
	b.serial = max(b.before, b.floor)
	return b.floor
}

// floorInstance takes note of an instance of the list.
func (b *builder) floorInstance(t *decodedEntry, i *Instance) {
	if !b.live && !i.hidden {
		// Who has no registry may not know when it came into being.
		b.floor = max(b.floor, cmp.Or(t.entry.CreateRevision, t.entry.ModRevision))
	}
}

// floorRecord is the same for other entries, each change of which shows, but for
// those of nodes.
func (b *builder) floorRecord(t *decodedEntry) {
	switch {
	case b.live || b.records[t.entry.Key] == nil || b.records[t.entry.Key].isSilent():
	case t.key.Kind == registry.KindNode:
		b.floor = max(b.floor, cmp.Or(t.entry.CreateRevision, t.entry.ModRevision))
	default:
		b.floor = max(b.floor, t.entry.ModRevision)
	}
}

// replay takes note of changes from before the list, see registry.Handler. It
// reports whether that moved the serial.
func (b *builder) replay(since int64, changes []registry.Change) (moved bool) {
	old := b.serial
	if since > b.floor && since > b.gap && b.knownTo < since-1 {
		// Nobody can say any more when something showed for the last time, of
		// what was before since. The last change that did or didn't show is as
		// good a guess as there is, unless there is a picture from before that
		// isn't the present one: no two pictures may have one serial.
		b.gap = since
		b.serial = max(b.serial, b.lastBefore(since))
		if b.listChanged {
			b.serial = max(b.serial, since-1)
		}
	}
	for n := range changes {
		c := &changes[n]
		key, err := b.layout.Parse(c.New.Key)
		if err != nil {
			continue
		}
		was, is := b.shape(key, c.Old), b.shape(key, c.New)
		if was != nil && c.Old.ModRevision < b.gap {
			// What it was then is no longer in the list.
			b.serial = max(b.serial, c.Old.ModRevision)
		}
		if showsChange(was, is) {
			b.serial = max(b.serial, c.New.ModRevision)
		}
	}
	return b.serial != old
}

// shape is what DNS shows of an entry: nil if that is nothing.
func (b *builder) shape(key registry.Key, e registry.Entry) any {
	if e.Deleted() {
		return nil
	}
	var v any
	var err error
	switch key.Kind {
	case registry.KindInstance:
		var r *registry.Instance
		if r, err = registry.DecodeInstance(key, e.Value); err == nil && !r.Hidden {
			v = newInstance(r, e.Value, e.ModRevision)
		}
	case registry.KindNode:
		v, err = registry.DecodeNode(key, e.Value)
	case registry.KindService:
		v, err = registry.DecodeService(key, e.Value)
	case registry.KindResource:
		v, err = registry.DecodeResource(key, e.Value)
	case registry.KindDrained:
		v, err = registry.DecodeDrained(key, e.Value)
	}
	if err != nil {
		return nil
	}
	return v
}

// showsChange is, for two shapes, what swap and takeRecord decide for two
// states.
func showsChange(was, is any) bool {
	_, wasNode := was.(*registry.Node)
	_, isNode := is.(*registry.Node)
	if wasNode || isNode {
		return showsNode(was, is)
	}
	if was == nil || is == nil {
		return was != nil || is != nil
	}
	old, isInstance := was.(*Instance)
	now, _ := is.(*Instance)
	return !isInstance || !old.looksLike(now)
}

// showsNode is showsChange for a node: what clients are told of its instances
// follows from how it is reached. What is known of one that is gone stays.
func showsNode(was, is any) bool {
	now, _ := is.(*registry.Node)
	if now == nil {
		return false
	}
	old, _ := was.(*registry.Node)
	if old == nil {
		return hasFacts(now)
	}
	return !reflect.DeepEqual(NodeFacts(old), NodeFacts(now))
}

// hasFacts reports whether a node's key says how its instances are reached.
func hasFacts(n *registry.Node) bool {
	return len(n.Addresses)+len(n.Links)+len(n.Networks) > 0 || n.Unproxied || n.NoIPv6NAT
}

// isSilent reports whether DNS shows nothing of an entry: it is that of a node that
// says nothing, or of what was seen.
func (r *record) isSilent() bool {
	n, ok := r.value.(*registry.Node)
	return r.kind == registry.KindSeen || ok && !hasFacts(n)
}

// lastBefore returns the revision of the last change of an entry, of those
// that last changed before since.
func (b *builder) lastBefore(since int64) int64 {
	last := int64(0)
	for _, i := range b.instances.each() {
		if i.revision < since {
			last = max(last, i.revision)
		}
	}
	for _, r := range b.records {
		if !r.isSilent() && r.revision < since {
			last = max(last, r.revision)
		}
	}
	return last
}
