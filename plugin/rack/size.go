package rack

import "github.com/miekg/dns"

// What parts of a reply take, in octets. The name of the question is said once
// and pointed at by two octets from then on (RFC 1035, section 4.1.4).
const (
	sizeHeader  = 12
	sizePointer = 2
	// sizeRecord is a record's fixed part after its name.
	sizeRecord = 10
	sizeA      = sizePointer + sizeRecord + 4
	sizeAAAA   = sizePointer + sizeRecord + 16
	// sizeSRV is an SRV record without its target, which is never compressed
	// (RFC 2782).
	sizeSRV = sizePointer + sizeRecord + 6
	// sizeSubnet is the most that a client's subnet takes (RFC 7871).
	sizeSubnet = 4 + 4 + 16
	// farthest is the first octet that can't be pointed at.
	farthest = 1 << 14
	// longest is the longest name as text, with its last dot.
	longest = 254
)

// nameSize is what a name without escapes takes.
func nameSize(name string) int { return len(name) + 1 }

// room is what is left of a reply for records, in octets, after its question
// and the OPT record that the server adds.
func (q *query) room() int {
	room := q.limit() - q.start()
	if opt := q.req.IsEdns0(); opt != nil {
		room -= dns.Len(opt)
	}
	if q.subnet != nil {
		room -= sizeSubnet
	}
	return room
}

// limit is the size of the largest reply that the asker takes. It is a function
// of its own to keep what it needs off its callers' stacks.
//
//go:noinline
func (q *query) limit() int {
	state := q.state()
	return state.Size()
}

// start is where the first record begins.
func (q *query) start() int { return sizeHeader + nameSize(q.question.Name) + 4 }
