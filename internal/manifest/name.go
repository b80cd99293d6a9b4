package manifest

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// reserved are the names that no service can have.
var reserved = []string{"rack", "host"}

// Own are the variables that every process gets of the rack.
var Own = []string{"RACK", "APP", "SERVICE", "RELEASE", "PORT"}

// Types are the types of resources that an app can have.
var Types = []string{TypeEFS, "mariadb", "memcached", "mysql", "postgres", "redis"}

// TypeEFS is the one type that gives no variable: it is a file system.
const TypeEFS = "efs"

// Suffixes are what follows the name of a resource in its variables: the first
// is its URL, the others are parts of it.
var Suffixes = []string{"_URL", "_USER", "_PASS", "_HOST", "_PORT", "_NAME"}

var (
	nameForm     = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	schemeForm   = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
)

// IsVariable reports whether s can name an environment variable that every
// shell knows.
func IsVariable(s string) bool { return variableForm.MatchString(s) }

// VariableOf is how the name of a service or a resource begins the names of
// its variables: "my-web" becomes MY_WEB.
func VariableOf(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// PartOf returns which of the Suffixes the variable that a service asked for
// ends in, exactly; the URL's for any other.
func PartOf(variable string) string {
	for _, s := range Suffixes {
		if strings.HasSuffix(variable, s) {
			return s
		}
	}
	return Suffixes[0]
}

// Variables are the names of the variables that the use of a resource gives;
// its type is not taken into account.
func (ref ResourceRef) Variables() []string {
	if ref.Env != "" {
		return []string{ref.Env}
	}
	var all []string
	for _, s := range Suffixes {
		all = append(all, VariableOf(ref.Name)+s)
	}
	return all
}

// name checks the name of a service or a resource.
func (r *reader) name(line int, path, what, name string) error {
	if !nameForm.MatchString(name) {
		return r.errorf(line, path, "%s can't name a %s: only a-z, 0-9 and dashes, beginning with a letter, can", registry.Quote(name), what)
	}
	if err := registry.CheckLabel(what, name); err != nil {
		return r.errorf(line, path, "%s", err)
	}
	return nil
}

// serviceName is name for a service, whose name may not be a reserved one.
func (r *reader) serviceName(line int, path, name string) error {
	if slices.Contains(reserved, name) {
		return r.errorf(line, path, "the rack reserves the service name %s", name)
	}
	return r.name(line, path, "service", name)
}
