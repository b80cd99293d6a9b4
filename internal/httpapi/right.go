package httpapi

import (
	"fmt"
	"strings"
)

// Right is what somebody may do, or what a route needs for it; several rights are
// one value.
type Right uint8

// The rights.
const (
	// ReadNames is to read what DNS tells.
	ReadNames Right = 1 << iota
	// Write is to register, to set weights and environments, to make resources,
	// and to restart.
	Write
	// ReadSecrets is to read URLs with credentials, and environments.
	ReadSecrets

	// Public needs no right: for monitors, which have no token.
	Public    Right = 0
	allRights       = ReadNames | Write | ReadSecrets
)

var rightNames = []struct {
	right Right
	name  string
}{{ReadNames, "names"}, {Write, "write"}, {ReadSecrets, "secrets"}}

// String returns the names of the rights, as they stand in a file of tokens.
func (r Right) String() string {
	var names []string
	for _, n := range rightNames {
		if r&n.right != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// has reports whether all that is needed is among the rights.
func (r Right) has(needed Right) bool { return r&needed == needed }

func parseRight(name string) (Right, error) {
	for _, n := range rightNames {
		if n.name == name {
			return n.right, nil
		}
	}
	return 0, fmt.Errorf("a right is names, write or secrets")
}
