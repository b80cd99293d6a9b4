// Package resource knows the types of resources: what is run for each, which
// options it has, and the URL by which it is reached. It runs nothing itself.
package resource

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Names of options. They are matched without regard to case: a convox.yml has
// "version" where the command line has "Version".
const (
	OptionDatabase = "Database"
	OptionImage    = "Image"
	OptionOpen     = "Open"
	OptionPassword = "Password"
	OptionURL      = "Url"
	OptionUsername = "Username"
	OptionVersion  = "Version"
)

// Type is a type of resource, such as postgres.
type Type struct {
	Name string
	// Options are sorted by name.
	Options []Option
	// app and rack say who can have one.
	app, rack bool
	// server is what to run, nil where there is nothing: it is a volume, or
	// can only be had elsewhere, as a URL.
	server *server
	// ignored are options that mean something to other racks, none here.
	ignored []string
}

// Option is something that can be chosen about a resource.
type Option struct {
	Name, Default, Description string
	// Secret options are credentials: they belong neither on a command line
	// nor below the registry's names.
	Secret bool
	// Fixed options are what an empty volume is set up with: from then on the
	// data say what they are.
	Fixed bool
	// Optional secrets are left out unless somebody says one.
	Optional bool
	check    func(string) error
}

// ShownDefault returns the default as a list of options shows it.
func (o Option) ShownDefault() string {
	if o.Secret {
		return "(generated)"
	}
	return o.Default
}

// Types returns the types that the rack, or an app, can have, by name.
func Types(rack bool) []*Type {
	var ts []*Type
	for _, t := range types {
		if rack && t.rack || !rack && t.app {
			ts = append(ts, t)
		}
	}
	return ts
}

// Lookup returns the type of that name, nil if there is none: a resource can
// be of any other type if it comes with its URL.
func Lookup(name string) *Type {
	n := slices.IndexFunc(types, func(t *Type) bool { return t.Name == name })
	if n < 0 {
		return nil
	}
	return types[n]
}

// Runs reports whether a resource of this type is a container, unless it comes
// with its URL.
func (t *Type) Runs() bool { return t.server != nil }

// DataDir is where its containers have their data, "" if there are none to keep.
func (t *Type) DataDir() string {
	if t.server == nil {
		return ""
	}
	return t.server.volume
}

// Option returns the option of that name, in any case.
func (t *Type) Option(name string) (Option, bool) {
	if strings.EqualFold(name, "EngineVersion") {
		name = OptionVersion
	}
	n := slices.IndexFunc(t.Options, func(o Option) bool { return strings.EqualFold(o.Name, name) })
	if n < 0 {
		return Option{}, false
	}
	return t.Options[n], true
}

// Ignored reports whether an option of that name is let through though it
// means nothing here, such as the size of a machine: files that were written
// for other racks have them.
func (t *Type) Ignored(name string) bool {
	_, known := t.Option(name)
	return !known && slices.ContainsFunc(t.ignored, func(i string) bool { return strings.EqualFold(i, name) })
}

// Normal returns the options under their own names, without those that mean
// nothing here, or an error that names the first that is wrong.
func (t *Type) Normal(options map[string]string) (map[string]string, error) {
	normal := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if t.Ignored(name) {
			continue
		}
		o, ok := t.Option(name)
		if !ok {
			return nil, fmt.Errorf("option %q: type %s has none of that name", name, t.Name)
		}
		if _, twice := normal[o.Name]; twice {
			return nil, fmt.Errorf("option %s: is there twice", o.Name)
		}
		value := options[name]
		if o.check != nil {
			if err := o.check(value); err != nil {
				return nil, fmt.Errorf("option %s: %w", o.Name, err)
			}
		}
		normal[o.Name] = value
	}
	return normal, nil
}

// Spec is what to run for a resource. It holds credentials, in Env and in its
// URL.
type Spec struct {
	// Image is empty where nothing is to be run (efs).
	Image   string
	Port    uint16
	Env     []string
	Command []string
	// Volume is where in the container the data are, empty if there are none
	// to keep.
	Volume string
	// Probe is what a health check asks: a URL without a host, since it is asked
	// in the container, and without the password, which the environment has.
	Probe string
	// Loopback says that whoever reaches it may do everything: it is published
	// for its own host alone.
	Loopback bool
	// Account is what it is used with. It is a secret.
	Account Account
	// Former are passwords that the data may still have: they are to be opened by
	// one of them, and get the account's.
	Former []string
	// Options are all that were decided, defaults included, secrets not.
	Options map[string]string

	url url.URL
}

// String leaves out what mustn't be printed.
func (s Spec) String() string { return "image " + s.Image }

// GoString is String, for %#v.
func (s Spec) GoString() string { return s.String() }

// URL returns the URL of the resource at host, a name or an address, at its
// own port. It is empty if the type has none.
func (s Spec) URL(host string) string { return s.URLAt(host, s.Port) }

// URLAt is [Spec.URL] where the port is another one, such as a published one.
func (s Spec) URLAt(host string, port uint16) string {
	if s.url.Scheme == "" {
		return ""
	}
	u := s.url
	u.Host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	return u.String()
}

// New returns what to run for a resource with these options. The password is
// for types that have one and no option that says another; see [NewPassword].
func (t *Type) New(options map[string]string, password string) (Spec, error) {
	normal, err := t.Normal(options)
	if err != nil {
		return Spec{}, err
	}
	if t.server == nil {
		if t.app {
			return Spec{Options: normal}, nil
		}
		return Spec{}, t.NeedsURL()
	}
	_, versioned := normal[OptionVersion]
	for _, o := range t.Options {
		value, given := normal[o.Name]
		switch {
		case o.Secret && value == "" && o.Optional:
		case o.Secret && value == "":
			if password == "" {
				return Spec{}, fmt.Errorf("option %s: is empty", o.Name)
			}
			normal[o.Name] = password
		case !given:
			normal[o.Name] = o.Default
		}
	}
	image, err := setImage(normal, versioned)
	if err != nil {
		return Spec{}, err
	}
	s := t.server.spec(normal)
	s.Image, s.Port, s.Volume = image, t.server.port, t.server.volume
	s.Account = Account{normal[OptionUsername], normal[OptionPassword], normal[OptionDatabase]}
	for _, o := range t.Options {
		if value := normal[o.Name]; !o.Secret && value != "" {
			if s.Options == nil {
				s.Options = map[string]string{}
			}
			s.Options[o.Name] = value
		}
	}
	return s, nil
}

// NeedsURL says that a resource of this type can't be run here.
func (t *Type) NeedsURL() error {
	return fmt.Errorf("a resource of type %s can't be run on a Docker host: it needs the URL of one that is there", t.Name)
}

// NewPassword returns a password that nobody can guess, and that needs no
// quoting anywhere.
func NewPassword() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return hex.EncodeToString(b)
}

// Account is what a server is used with.
type Account struct{ User, Password, Database string }

// AccountOf returns the account in a URL that a [Spec] has made, so that a
// resource can keep it when it is run anew.
func AccountOf(rawURL string) (Account, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// Its own text has the URL in it.
		return Account{}, errors.New("URL can't be parsed")
	}
	password, _ := u.User.Password()
	return Account{u.User.Username(), password, strings.TrimPrefix(u.Path, "/")}, nil
}

// String leaves out what mustn't be printed.
func (Account) String() string { return "account" }

// GoString is String, for %#v.
func (a Account) GoString() string { return a.String() }
