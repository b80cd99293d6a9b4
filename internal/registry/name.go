package registry

import (
	"fmt"
	"strings"
)

// MaxLabel is the longest DNS label in octets (RFC 1035, section 2.3.4).
const MaxLabel = 63

// maxNode is the longest name of a node: a host's name.
const maxNode = 253

// ReservedApps are names that no app can have, since the zone needs them for
// itself: resources live below "resource", this server below "dns".
var ReservedApps = []string{"resource", "dns"}

// IsLabel reports whether s can be a label of a host name in lower case (RFC
// 1123, section 2.1): letters, digits and inner dashes, 63 at most.
func IsLabel(s string) bool {
	if s == "" || len(s) > MaxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// CheckLabel returns an error that names what is not a label, and why.
func CheckLabel(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s: is empty", what)
	case len(s) > MaxLabel:
		return fmt.Errorf("%s %s: longer than %d characters", what, Quote(s), MaxLabel)
	case !IsLabel(s):
		return fmt.Errorf("%s %s: only a-z, 0-9 and inner dashes make a DNS label", what, Quote(s))
	}
	return nil
}

// CheckApp is [CheckLabel] for the name of an app or a namespace, which in
// addition may not be one that the zone needs for itself.
func CheckApp(what, s string) error {
	for _, r := range ReservedApps {
		if s == r {
			return fmt.Errorf("%s %q: is reserved", what, s)
		}
	}
	return CheckLabel(what, s)
}

// CheckNode returns an error if s can't name a node: it is one part of a key,
// usually the host's name, so dots and capitals are fine.
func CheckNode(s string) error {
	if s == "" || len(s) > maxNode || s[0] == '@' {
		return fmt.Errorf("node %s: must have 1 to %d characters and not begin with @", Quote(s), maxNode)
	}
	bad := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	})
	if bad >= 0 || s == "." || s == ".." {
		return fmt.Errorf("node %s: only letters, digits, dots, dashes and underscores can name a node", Quote(s))
	}
	return nil
}

// Quote returns s quoted and cut, so that a hostile value can neither break a
// log line nor fill it.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
