package resource

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Past is what is known of a resource that has been run before. It holds
// credentials.
type Past struct {
	// Account is what it was used with, if that is known.
	Account Account
	Known   bool
	// Data says that there may be data of it.
	Data bool
}

// PastOf returns the past of a resource that was reached by that URL, "" if there
// is none.
func PastOf(url string, data bool) (Past, error) {
	a, err := AccountOf(url)
	return Past{a, url != "", data}, err
}

// FixedError says that options can't be changed, since there are data: nothing
// was done. Where there are none after all, it is no mistake.
type FixedError struct{ text string }

// Error implements error.
func (e *FixedError) Error() string { return e.text }

// Next returns what to run for a resource with these options that may have been
// run before. It is the one rule for what of it can be changed, whoever asks:
// what an option doesn't say stays as it was; what data were set up with stays as
// they are, or is refused with a [FixedError]; and another password is given to
// the server by whoever runs it, see [Spec.Former].
func (t *Type) Next(options map[string]string, past Past) (Spec, error) {
	wanted, err := t.Normal(options)
	if err != nil {
		return Spec{}, err
	}
	if t.server == nil {
		return t.New(wanted, "")
	}
	was := past.Account
	all := maps.Clone(wanted)
	for _, o := range t.Options {
		value, known := was.option(o.Name)
		switch {
		case !o.Fixed && !o.Secret && o.Name != OptionDatabase:
			continue
		case !past.Known:
			if past.Data && o.Secret && !o.Optional && wanted[o.Name] == "" {
				return Spec{}, &FixedError{fmt.Sprintf("option %s: there are data, and the registry has no password for them: give it by that option", o.Name)}
			}
		case wanted[o.Name] == "":
			if known {
				all[o.Name] = value
			}
		case past.Data && o.Fixed && !o.Secret && wanted[o.Name] != value:
			return Spec{}, &FixedError{fmt.Sprintf("option %s: can't be changed any more, since the data were made with %s: keep that, or make another resource and restore a backup into it", o.Name, value)}
		}
	}
	switch wanted[OptionOpen] {
	case "true":
		delete(all, OptionPassword)
	case "false":
		all = t.Protect(all)
	}
	spec, err := t.New(all, cmp.Or(was.Password, NewPassword()))
	if err == nil && past.Data && !t.hasOptional() && was.Password != "" && was.Password != spec.Account.Password {
		spec.Former = []string{was.Password}
	}
	return spec, err
}

// KeepsPassword reports whether the password is the data's: their server has it
// changed, and isn't told it by its environment.
func (t *Type) KeepsPassword() bool {
	return t.server != nil && !t.hasOptional() && slices.ContainsFunc(t.Options, func(o Option) bool { return o.Secret })
}

// AccountIn returns the account that a server was set up with, by the environment
// of its container.
func AccountIn(env []string) (a Account) {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case "POSTGRES_PASSWORD", "MYSQL_PASSWORD", "MARIADB_PASSWORD", "REDIS_PASSWORD":
			a.Password = value
		case "POSTGRES_USER", "MYSQL_USER", "MARIADB_USER":
			a.User = value
		case "POSTGRES_DB", "MYSQL_DATABASE", "MARIADB_DATABASE":
			a.Database = value
		}
	}
	return a
}

// hasOptional reports whether the password is an optional one. That is the
// server's, which is told it at each start; the data have none.
func (t *Type) hasOptional() bool {
	return slices.ContainsFunc(t.Options, func(o Option) bool { return o.Optional })
}

// option returns what an option was, as the URL tells it.
func (a Account) option(name string) (value string, known bool) {
	switch name {
	case OptionUsername:
		return a.User, a.User != ""
	case OptionDatabase:
		return a.Database, a.Database != ""
	case OptionPassword:
		return a.Password, a.Password != ""
	}
	return "", false
}

// Protect gives a resource that others than its app's containers can reach a
// password, if its type can have one and nobody wants it open.
func (t *Type) Protect(options map[string]string) map[string]string {
	normal, err := t.Normal(options)
	if err != nil || normal[OptionOpen] == "true" {
		return options
	}
	all := map[string]string{}
	maps.Copy(all, options)
	for _, o := range t.Options {
		if o.Secret && o.Optional && normal[o.Name] == "" {
			all[o.Name] = NewPassword()
		}
	}
	return all
}

// Open reports whether whoever reaches a resource may do everything, and is let
// reach it from everywhere.
func (t *Type) Open(options map[string]string) bool {
	normal, err := t.Normal(options)
	return err == nil && normal[OptionOpen] == "true"
}
