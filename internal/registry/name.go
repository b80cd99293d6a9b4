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

// maxPortName is the longest name of a port (RFC 6335, section 5.1).
const maxPortName = 15

// CheckPortName returns an error that names what can't be the name of a port, as
// it stands in SRV names behind an underscore, and why (RFC 6335, section 5.1).
// That is for those who give names: what the registry has is taken if it is a
// label.
func CheckPortName(what, s string) error {
	fail := func(why string) error { return fmt.Errorf("%s %s: %s (RFC 6335)", what, Quote(s), why) }
	switch {
	case s == "":
		return fmt.Errorf("%s: is empty", what)
	case !IsLabel(s) && len(s) <= MaxLabel:
		return fail("only a-z, 0-9 and inner dashes make the name of a port")
	case len(s) > maxPortName:
		return fail(fmt.Sprintf("the name of a port has %d characters at most", maxPortName))
	case strings.Trim(s, "0123456789-") == "":
		return fail("the name of a port has a letter")
	case strings.Contains(s, "--"):
		return fail("the name of a port has no two dashes side by side")
	}
	return nil
}

// FoldName returns a name of one or more labels as it is registered: an
// underscore within a label is a dash. One that begins a label stays, as in
// _http._tcp.
func FoldName(name string) string {
	for n := 1; n < len(name); n++ {
		if name[n] == '_' && name[n-1] != '.' {
			b := []byte(name)
			for ; n < len(b); n++ {
				if b[n] == '_' && b[n-1] != '.' {
					b[n] = '-'
				}
			}
			return string(b)
		}
	}
	return name
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
