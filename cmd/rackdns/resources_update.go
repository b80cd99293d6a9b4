package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/engine"
)

// resourceChange is one call of update or delete.
type resourceChange struct {
	resourceFlags
	docker   dockerFlag
	password passwordFlag
	name     string
}

func (c *resourceChange) take(name string) error {
	c.name = name
	if err := registry.CheckLabel("resource", name); err != nil {
		return usageError{err}
	}
	if _, err := c.zone(); err != nil {
		return err
	}
	return c.check()
}

// engine returns the engine that runs a resource, nil if none does or none is
// to be asked.
func (c *resourceChange) engine(ctx context.Context, r *registry.Resource) (*engine.Engine, error) {
	if c.app != "" || !index.IsInstanceID(r.Host) || c.docker.host == dockerOff {
		return nil, nil
	}
	e, err := c.docker.open(c.Rack)
	if err != nil {
		return nil, err
	}
	has, err := e.Has(ctx, c.name)
	if err == nil && !has {
		err = c.nowhere(ctx)
	}
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// nowhere returns an error if the resource runs on another node.
func (c *resourceChange) nowhere(ctx context.Context) error {
	node, err := c.node(ctx)
	if err == nil && node != "" {
		err = fmt.Errorf("resource %s: its container is on node %s and not on this Docker Engine; run this there", c.name, node)
	}
	return err
}

// node returns the node on which the resource has its container, "" if there
// is none.
func (c *resourceChange) node(ctx context.Context) (string, error) {
	s, err := c.snapshot(ctx, index.Options{})
	if err != nil {
		return "", err
	}
	for is := range s.Resources() {
		if is.Name == c.name && len(is.Instances()) > 0 {
			return is.Instances()[0].Node(), nil
		}
	}
	return "", nil
}

// notUps refuses what an app's convox.yml decides.
func (c *resourceChange) notUps(r *registry.Resource) error {
	if c.app != "" && r.Manager == registry.ManagerUp {
		return fmt.Errorf("resource %s: is run for app %s as its convox.yml says; change that, and run rackdns up", c.name, c.app)
	}
	return nil
}

func resourceUpdateCommand() *cobra.Command {
	var (
		c    resourceChange
		from urlFlag
	)
	cmd := &cobra.Command{
		Use:               "update NAME [OPTION=VALUE...]",
		ValidArgsFunction: completeUpdate,
		Short:             "Change the options of a resource, or its URL",
		Long: `Change the options of a resource that is run here, or the URL of one that isn't.
A resource that needs another image is run anew on its data; if the new container
fails, the old one is started again. Another password is given to the server, and
what the data were made with can't be changed any more.`,
		Example: `  rackdns resources update redis-8193 Version=7.2
  pass show db | rackdns resources update postgres-8458 --password-file -
  rackdns resources update oracle-2871 --url-file oracle.url`,
		Args: folded(1, func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s takes a resource; see %[1]s --help", cmd.CommandPath())
			}
			return notURL("resource", args[0])
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.take(args[0]); err != nil {
				return err
			}
			options, err := parseOptions(args[1:])
			if err != nil {
				return err
			}
			url, err := from.read(cmd)
			if err != nil {
				return err
			}
			if url == "" && len(options) == 0 && c.password.file == "" {
				return usagef("%s takes options or a URL; see %[1]s --help", cmd.CommandPath())
			}
			return c.update(cmd, options, url)
		},
	}
	c.add(cmd.Flags())
	c.docker.add(cmd.Flags())
	c.password.add(cmd.Flags())
	from.add(cmd.Flags())
	return cmd
}

func (c *resourceChange) update(cmd *cobra.Command, options map[string]string, url string) error {
	ctx := cmd.Context()
	client, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	if err := client.CheckRack(ctx); err != nil {
		return err
	}
	d, err := client.Declared(ctx, c.app, true)
	if err != nil {
		return err
	}
	r, err := c.find(d, c.name)
	if err != nil {
		return err
	}
	if err := c.notUps(r); err != nil {
		return err
	}
	given, ignored, err := checkOptions(resource.Lookup(r.Type), r.Type, options)
	if err != nil {
		return err
	}
	if given != "" {
		url = given
	}
	for _, name := range ignored {
		delete(options, name)
	}
	if err := c.password.read(cmd, resource.Lookup(r.Type), options); err != nil {
		return err
	}
	backed := index.IsInstanceID(r.Host)
	switch {
	case url != "" && backed:
		return usagef("resource %s: is run here, so its URL follows from its options", c.name)
	case url == "" && !backed && len(options) > 0:
		return usagef("resource %s: is not run here, so only its URL can be changed: --url-file or %s", c.name, urlVariable)
	}
	var spec *resource.Spec
	if backed && len(options) > 0 {
		if spec, err = respecify(r, d.Secrets[c.name], options); err != nil {
			return err
		}
	}
	warnIgnored(cmd.ErrOrStderr(), ignored)
	return report(cmd.OutOrStdout(), "Updating "+c.name, func() (string, error) {
		switch {
		case url != "":
			return "", c.edit(ctx, client, r, func(now *registry.Resource) string { setOutside(now, url); return url })
		case spec != nil:
			was, err := resource.AccountOf(d.Secrets[c.name])
			if err != nil {
				return "", err
			}
			return "", c.runAnew(ctx, client, r, *spec, was.Password != spec.Account.Password)
		}
		return "", nil
	})
}

// respecify returns what a resource is with other options, and the password it
// has had.
func respecify(r *registry.Resource, url string, options map[string]string) (*resource.Spec, error) {
	typ := resource.Lookup(r.Type)
	if typ == nil || !typ.Runs() {
		return nil, fmt.Errorf("resource %s: its type %s can't be run here", r.Name, registry.Quote(r.Type))
	}
	past, err := resource.PastOf(url, true)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", r.Name, err)
	}
	wanted, err := typ.Normal(options)
	if err != nil {
		return nil, usageError{err}
	}
	all := maps.Clone(r.Options)
	if all == nil {
		all = map[string]string{}
	}
	if _, ok := wanted[resource.OptionImage]; ok {
		// The old one's tag says nothing about another image.
		delete(all, resource.OptionVersion)
	}
	maps.Copy(all, wanted)
	spec, err := typ.Next(all, past)
	if err != nil {
		return nil, usageError{err}
	}
	return &spec, nil
}

// runAnew replaces the container if it has to, and declares what is new. anew says
// that it has to.
func (c *resourceChange) runAnew(ctx context.Context, client *registry.Client, r *registry.Resource, spec resource.Spec, anew bool) error {
	zone, err := c.zone()
	if err != nil {
		return err
	}
	url := spec.URL(resourceDomain("", r.Name, zone))
	declare := func(host string) error {
		return c.edit(ctx, client, r, func(now *registry.Resource) string {
			now.Host, now.Port, now.Options = host, spec.Port, spec.Options
			return url
		})
	}
	same := !anew
	for _, name := range []string{resource.OptionImage, resource.OptionVersion, resource.OptionOpen} {
		same = same && r.Options[name] == spec.Options[name]
	}
	if same {
		node, err := c.node(ctx)
		if err != nil {
			return err
		}
		if node != "" || c.docker.host == dockerOff {
			return declare(r.Host)
		}
	}
	e, err := c.engine(ctx, r)
	if err == nil && e == nil {
		err = usagef("--docker %s: the resource can't be run anew", dockerOff)
	}
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	return alone(ctx, client, c.name, func(ctx context.Context) error {
		there, err := e.Recover(ctx, c.name, r.Host)
		if err != nil {
			return err
		}
		if same && there {
			return declare(r.Host)
		}
		started, err := e.Replace(ctx, c.name, r.Type, spec)
		if err != nil {
			return err
		}
		return started.Settle(ctx, declare(started.ID))
	})
}

// edit changes a resource and its URL, unless somebody else has made it another
// one since it was read.
func (c *resourceChange) edit(ctx context.Context, client *registry.Client, read *registry.Resource, f func(*registry.Resource) (url string)) error {
	return client.Edit(ctx, c.app, func(d *registry.Declared) error {
		now, err := c.find(d, c.name)
		if err != nil {
			return err
		}
		if now.Type != read.Type || now.Host != read.Host {
			return fmt.Errorf("resource %s: somebody else has changed it meanwhile", c.name)
		}
		d.Secrets[c.name] = f(now)
		return nil
	})
}
