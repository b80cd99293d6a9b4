package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/engine"
	"github.com/rackdns/rackdns/internal/terminal"
)

// Numbers in the names of resources that nobody has named.
const (
	firstNumber = 1000
	lastNumber  = 9998
)

// dockerFlag says which engine runs what is to be run.
type dockerFlag struct{ host string }

func (f *dockerFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.host, "docker", "", "address of the Docker Engine, or \""+dockerOff+"\" (default as for the docker command)")
}

func (f *dockerFlag) open(rack string) (*engine.Engine, error) {
	if err := checkDocker(f.host); err != nil {
		return nil, err
	}
	e, err := engine.Open(f.host, rack)
	if err != nil {
		return nil, err
	}
	if self, err := os.Executable(); err == nil {
		e.UseProgram(self)
	}
	return e, nil
}

// creation is one call of create.
type creation struct {
	resourceFlags
	from     urlFlag
	docker   dockerFlag
	password passwordFlag
	name     string
	public   bool

	kind    string
	options map[string]string
	url     string
}

func resourceCreateCommand() *cobra.Command {
	c := &creation{}
	cmd := &cobra.Command{
		Use:               "create TYPE [OPTION=VALUE...]",
		ValidArgsFunction: completeTypes,
		Short:             "Make a resource: run it here, or make one known by its URL",
		Long: `Make a resource. Without a URL it is run as a container on this host's Docker
Engine, with a password that nobody has to know. A type that has no password is
reached from this host and from the rack's containers alone, unless --open says
that everybody who reaches the host may use it. Should the data of a deleted
resource of that name and type be here still, they are its data again, with the
password that they have.

With a URL, from a file or the variable RACKDNS_URL, it is a resource that is
there already, of any type; the URL is kept as it is, and never shown in DNS.`,
		Example: `  rackdns resources create postgres
  rackdns resources create redis Version=6.2 --name cache
  rackdns resources create memcached --open
  rackdns resources create oracle --url-file oracle.url
  pass show db | rackdns resources create mysql --app shop --name db --url-file -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s takes a type; see %[1]s --help", cmd.CommandPath())
			}
			return notURL("type", args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ignored, err := c.check(cmd, args)
			if err != nil {
				return err
			}
			warnIgnored(cmd.ErrOrStderr(), ignored)
			if t := resource.Lookup(c.kind); c.url == "" && t != nil && t.Open(c.options) {
				_, err := fmt.Fprintf(cmd.ErrOrStderr(), "rackdns: this %s has no password: whoever reaches this host can read and write all that is in it\n", c.kind)
				if err != nil {
					return err
				}
			}
			client, err := c.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			var made *registry.Resource
			err = report(cmd.OutOrStdout(), "Creating resource", func() (string, error) {
				made, err = c.create(cmd.Context(), client)
				return c.name, err
			})
			if err == nil && made.Host == "" {
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "rackdns: resource %s has no name in DNS: its URL names no host that could have one\n", terminal.Text(c.name))
			}
			return err
		},
	}
	c.add(cmd.Flags())
	c.from.add(cmd.Flags())
	c.docker.add(cmd.Flags())
	c.password.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.public, "open", false, "let everybody who reaches this host use it: without a password, where its type can do without (as option Open=true)")
	nameFlag(cmd.Flags(), &c.name, "name", "", "name of the resource (default <type>-<number>)")
	return cmd
}

func warnIgnored(w io.Writer, options []string) {
	slices.Sort(options)
	for _, o := range options {
		// It is only advice.
		_, _ = fmt.Fprintf(w, "rackdns: option %s means nothing on a Docker host and is left out\n", terminal.Text(o))
	}
}

// check takes everything that was given and finds what is wrong with it.
func (c *creation) check(cmd *cobra.Command, args []string) (ignored []string, err error) {
	c.kind = args[0]
	if err := registry.CheckLabel("type", c.kind); err != nil {
		return nil, usageError{err}
	}
	if c.name != "" {
		if err := notURL("--name", c.name); err != nil {
			return nil, err
		}
		if err := registry.CheckLabel("--name", c.name); err != nil {
			return nil, usageError{err}
		}
	} else if len(c.kind) > registry.MaxLabel-len("-1000") {
		return nil, usagef("type %s: is too long to be part of a name; give one with --name", c.kind)
	}
	if err := c.resourceFlags.check(); err != nil {
		return nil, err
	}
	if _, err := c.zone(); err != nil {
		return nil, err
	}
	if c.options, err = parseOptions(args[1:]); err != nil {
		return nil, err
	}
	if c.url, err = c.from.read(cmd); err != nil {
		return nil, err
	}
	typ := resource.Lookup(c.kind)
	if c.public {
		if typ != nil {
			if _, ok := typ.Option(resource.OptionOpen); !ok {
				return nil, usagef("--open: a %s always has a password", c.kind)
			}
		}
		c.options[resource.OptionOpen] = "true"
	}
	given, ignored, err := checkOptions(typ, c.kind, c.options)
	switch {
	case err != nil:
		return nil, err
	case given != "" && c.url != "":
		return nil, usagef("option %s: there is another URL in --url-file or %s", resource.OptionURL, urlVariable)
	case given != "":
		c.url = given
	}
	if err := c.password.read(cmd, typ, c.options); err != nil {
		return nil, err
	}
	return ignored, c.checkSource(typ, len(c.options) > len(ignored))
}

// checkSource checks that it can be run here, or has a URL.
func (c *creation) checkSource(typ *resource.Type, chosen bool) error {
	const how = "--url-file or " + urlVariable
	switch {
	case c.url != "" && chosen && typ.Runs():
		return usagef("options: are for a %s that is run here, but there is a URL of another", c.kind)
	case c.url != "":
		return nil
	case c.app != "":
		return usagef("--app %s: what is run for an app is declared in its convox.yml; here its resources need a URL: %s", c.app, how)
	case typ == nil:
		return usagef("type %s: is none that can be run here, so it needs a URL: %s", registry.Quote(c.kind), how)
	case !typ.Runs():
		return usagef("type %s: needs the URL of one that is there: option %s, %s", c.kind, resource.OptionURL, how)
	case c.docker.host == dockerOff:
		return usagef("--docker %s: nothing can be run, so it needs a URL: %s", dockerOff, how)
	case !slices.Contains(resource.Types(true), typ):
		return usagef("type %s: is run only for apps, by their convox.yml; a rack's needs a URL: %s", c.kind, how)
	}
	if _, err := typ.Next(c.options, resource.Past{}); err != nil {
		return usageError{err}
	}
	return nil
}

// create makes the resource and what is to be run for it, or nothing.
func (c *creation) create(ctx context.Context, client *registry.Client) (*registry.Resource, error) {
	if err := c.chooseName(ctx, client); err != nil {
		return nil, err
	}
	r := &registry.Resource{App: c.app, Name: c.name, Type: c.kind}
	if c.url != "" {
		setOutside(r, c.url)
		return r, c.declare(ctx, client, r, c.url)
	}
	return r, c.run(ctx, client, r)
}

// chooseName finds a name that is free, or finds out whether the given one is.
func (c *creation) chooseName(ctx context.Context, client *registry.Client) error {
	d, err := client.Declared(ctx, c.app, true)
	if err != nil {
		return err
	}
	if c.name != "" {
		return c.free(d, c.name)
	}
	const all = lastNumber - firstNumber + 1
	start := rand.IntN(all)
	for n := range all {
		name := fmt.Sprintf("%s-%d", c.kind, firstNumber+(start+n)%all)
		if _, kept := d.Secrets[name]; d.Resources[name] == nil && !kept {
			c.name = name
			return nil
		}
	}
	return fmt.Errorf("type %s: all numbers are taken; choose a name with --name", c.kind)
}

func (c *creation) free(d *registry.Declared, name string) error {
	if d.Resources[name] != nil {
		return fmt.Errorf("resource %q: %s has one of that name already", name, c.owner())
	}
	return nil
}

func (c *creation) declare(ctx context.Context, client *registry.Client, r *registry.Resource, url string) error {
	return client.Edit(ctx, c.app, func(d *registry.Declared) error {
		if err := c.free(d, r.Name); err != nil {
			return err
		}
		d.Resources[r.Name], d.Secrets[r.Name] = r, url
		return nil
	})
}

// run runs the resource and declares it when it does.
func (c *creation) run(ctx context.Context, client *registry.Client, r *registry.Resource) error {
	zone, err := c.zone()
	if err != nil {
		return err
	}
	e, err := c.docker.open(c.Rack)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	return alone(ctx, client, r.Name, func(ctx context.Context) error {
		kept, err := e.Kept(ctx, r.Name, c.kind)
		if err != nil {
			return err
		}
		left, url, err := c.reserve(ctx, client, kept)
		if err == nil && left {
			// Nobody has ever used the data.
			err = e.Remove(ctx, r.Name, true)
		}
		if err != nil {
			return err
		}
		typ, options, run := resource.Lookup(c.kind), c.options, e.Run
		if url != "" {
			run = e.Replace
		} else {
			options = typ.Protect(options)
		}
		past, err := resource.PastOf(url, url != "")
		if err != nil {
			return fmt.Errorf("resource %s: %w", r.Name, err)
		}
		spec, err := typ.Next(options, past)
		var started *engine.Started
		if err == nil {
			started, err = run(ctx, r.Name, c.kind, spec)
		}
		if err == nil {
			r.Host, r.Port, r.Options = started.ID, spec.Port, spec.Options
			err = started.Settle(ctx, c.declare(ctx, client, r, spec.URL(resourceDomain("", r.Name, strings.TrimSuffix(zone, ".")))))
		}
		if err != nil {
			err = errors.Join(err, forget(ctx, client, r.Name))
		}
		return err
	})
}

// creating stands in place of a resource's URL until it runs. Without a resource
// it is the mark of a creation that was cut off, and all that it has left is of
// no use to anybody. A URL without a resource is something else: there may be
// data that only it opens.
const creating = "being created"

// reserve marks a resource as one that is being created, before anything is run
// for it. It reports whether it was marked already. Credentials whose data are
// kept are of a resource that was deleted: they are returned, and stay.
func (c *creation) reserve(ctx context.Context, client *registry.Client, kept bool) (left bool, url string, err error) {
	err = client.Edit(ctx, "", func(d *registry.Declared) error {
		left, url = false, ""
		if err := c.free(d, c.name); err != nil {
			return err
		}
		switch is, marked := d.Secrets[c.name]; {
		case !marked:
		case is == creating:
			left = true
		case kept:
			url = is
			return nil
		default:
			return fmt.Errorf("resource %s: %s has credentials of one, and perhaps its data, though none that can be read: choose another name, or remove them for ever with resources delete %[1]s --volumes", c.name, c.owner())
		}
		d.Secrets[c.name] = creating
		return nil
	})
	return left, url, err
}

// forget removes the mark of a creation of which nothing is left, also for
// those who have given up.
func forget(ctx context.Context, client *registry.Client, name string) error {
	return client.Edit(context.WithoutCancel(ctx), "", func(d *registry.Declared) error {
		if d.Secrets[name] == creating {
			delete(d.Secrets, name)
		}
		return nil
	})
}

// alone does work on a resource of the rack while no other command does.
func alone(ctx context.Context, client *registry.Client, name string, work func(context.Context) error) error {
	held, lock, err := client.Lock(ctx, "resource/"+name, func() {})
	if err != nil {
		return err
	}
	defer lock.Release()
	err = work(held)
	if errors.Is(err, context.Canceled) && held.Err() != nil {
		err = context.Cause(held)
	}
	return err
}
