package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// urlVariable holds the URL of an outside resource. There is no such flag:
// other users of the host see what stands on a command line.
const urlVariable = "RACKDNS_URL"

// urlFlag is where a URL comes from.
type urlFlag struct{ file string }

func (f *urlFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "url-file", "", "file with the URL of a resource that is there already, - for stdin (default $"+urlVariable+")")
}

// read returns the URL, empty if none is given. No error repeats any of it.
func (f *urlFlag) read(cmd *cobra.Command) (string, error) {
	url, from := os.Getenv(urlVariable), urlVariable
	if f.file == "" && url == "" {
		return "", nil
	}
	if f.file != "" {
		b, err := readSecret(cmd, f.file)
		if err != nil {
			return "", usagef("--url-file: %w", err)
		}
		url, from = strings.TrimSuffix(string(b), "\n"), "--url-file "+f.file
	}
	switch {
	case url == "":
		return "", usagef("%s: is empty", from)
	case len(url) > registry.MaxValue:
		return "", usagef("%s: is over 64 KiB long", from)
	case strings.ContainsFunc(url, unicode.IsControl):
		return "", usagef("%s: has a control character in it, such as the end of a line", from)
	case !utf8.ValidString(url) || strings.TrimSpace(url) != url:
		return "", usagef("%s: begins or ends with a space, or is not UTF-8", from)
	}
	return url, nil
}

// passwordFlag is where a password comes from. There is none on a command line.
type passwordFlag struct{ file string }

func (f *passwordFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "password-file", "", "file with the server's password, - for stdin (default one that is made)")
}

// read puts the password among the options. No error repeats any of it.
func (f *passwordFlag) read(cmd *cobra.Command, typ *resource.Type, options map[string]string) error {
	if f.file == "" {
		return nil
	}
	if typ == nil {
		return usagef("--password-file: this type of resource has no such option")
	}
	if _, ok := typ.Option(resource.OptionPassword); !ok {
		return usagef("--password-file: a resource of type %s has no password", typ.Name)
	}
	b, err := readSecret(cmd, f.file)
	if err != nil {
		return usagef("--password-file: %w", err)
	}
	password := strings.TrimSuffix(string(b), "\n")
	if password == "" {
		return usagef("--password-file %s: is empty", f.file)
	}
	options[resource.OptionPassword] = password
	if _, err := typ.Normal(options); err != nil {
		return usageError{err}
	}
	return nil
}

func readSecret(cmd *cobra.Command, from string) ([]byte, error) {
	in := cmd.InOrStdin()
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	return io.ReadAll(io.LimitReader(in, registry.MaxValue+2))
}

var optionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// parseOptions takes NAME=VALUE apart. What is something else is not repeated,
// since it may be a URL.
func parseOptions(args []string) (map[string]string, error) {
	options := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || !optionName.MatchString(name) {
			return nil, usagef("options: want NAME=VALUE; a URL comes by --url-file or %s", urlVariable)
		}
		if _, twice := options[name]; twice {
			return nil, usagef("option %s: is there twice", name)
		}
		options[name] = value
	}
	return options, nil
}

// checkOptions checks what was given on the command line and takes the URL out
// of it, if that has no credentials. It returns the names of those options that
// mean nothing here. typ is nil for a type that only others know.
func checkOptions(typ *resource.Type, name string, options map[string]string) (url string, ignored []string, err error) {
	for option, value := range options {
		if typ == nil {
			return "", nil, usagef("option %s: type %s has no options", option, name)
		}
		o, _ := typ.Option(option)
		switch {
		case o.Secret:
			return "", nil, usagef("option %s: is a secret and can't be an argument; leave it out, and one is generated, or use --password-file", o.Name)
		case o.Name == resource.OptionURL && resource.HasCredentials(value):
			return "", nil, usagef("option %s: may have credentials in it and can't be an argument; use --url-file or %s", o.Name, urlVariable)
		case o.Name == resource.OptionURL && (value == "" || strings.ContainsFunc(value, unicode.IsControl)):
			return "", nil, usagef("option %s: is no URL", o.Name)
		case o.Name == resource.OptionURL:
			url = value
		case typ.Ignored(option):
			ignored = append(ignored, option)
		}
	}
	if typ != nil {
		if _, err := typ.Normal(options); err != nil {
			return "", nil, usageError{err}
		}
	}
	return url, ignored, nil
}

// setOutside makes r one that is reached by its URL.
func setOutside(r *registry.Resource, url string) {
	r.Host, r.Port = resource.Locate(url)
	if index.IsInstanceID(r.Host) {
		// It is a name though it looks like a container's.
		r.Host += "."
	}
	r.Options = nil
}
