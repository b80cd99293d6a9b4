package connlimit

import "golang.org/x/sys/unix"

// Shares are parts of the process's file descriptors. What is in none of them is
// the agent's and the registry's.
type Shares struct {
	// DNS is for clients that ask over TCP, all listeners together.
	DNS int
	// HTTP is for clients of the HTTP interface.
	HTTP int
	// Forward is for questions that other DNS servers have to answer, each of
	// which takes a socket, and as much again for sockets kept for the next.
	Forward int
}

// Upper bounds: more connections than that are no use of such a server.
const (
	maxDNS     = 4096
	maxHTTP    = 4096
	maxForward = 1000
	maxAlone   = 16384
)

// OfProcess shares out the descriptors of this process. The Go runtime has
// raised the soft limit to the hard one.
func OfProcess() Shares { return share(descriptors()) }

// HTTPAlone is the share of HTTP in a process that has nothing else to serve.
func HTTPAlone() int { return aloneOf(descriptors()) }

func aloneOf(descriptors uint64) int { return int(min(max(descriptors/4*3, 4), maxAlone)) }

func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what systems have by default
	}
	return limit.Cur
}

func share(descriptors uint64) Shares {
	part := func(divisor uint64, most int) int {
		return int(min(max(descriptors/divisor, 4), uint64(most)))
	}
	return Shares{DNS: part(4, maxDNS), HTTP: part(8, maxHTTP), Forward: part(16, maxForward)}
}
