package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource/engine"
)

func resourceDeleteCommand() *cobra.Command {
	var (
		c       resourceChange
		volumes bool
		yes     yesFlag
	)
	cmd := &cobra.Command{
		Use:               "delete NAME",
		ValidArgsFunction: completeArgs(knownResources),
		Short:             "Remove a resource that nothing is linked to",
		Long: `Remove a resource that nothing is linked to. If it is run here its container goes
too. Its data stay, and its password as long as they do: a resource of the same
name and type that is created later has them again. --volumes removes both for
ever; it names the data, and asks. Where the engine that ran it is gone for good,
--docker off removes what is left.`,
		Example: `  rackdns resources delete postgres-8458
  rackdns resources delete postgres-8458 --volumes --yes`,
		Args: folded(1, oneWord("resource")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.take(args[0]); err != nil {
				return err
			}
			client, err := c.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			if err := client.CheckRack(cmd.Context()); err != nil {
				return err
			}
			if volumes {
				if err := c.confirm(cmd, client, &yes); err != nil {
					return err
				}
			}
			kept := ""
			err = report(cmd.OutOrStdout(), "Deleting "+c.name, func() (_ string, err error) {
				kept, err = c.delete(cmd.Context(), client, volumes)
				return "", err
			})
			if err == nil && kept != "" {
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "rackdns: its data are kept in volume %s, with their password: resources create with --name %s has them again, resources delete %[2]s --volumes removes them for ever\n", kept, c.name)
			}
			return err
		},
	}
	c.add(cmd.Flags())
	c.docker.add(cmd.Flags())
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove its data, too")
	yes.add(cmd.Flags())
	return cmd
}

// confirm asks before data are removed, if there are any. What can't be deleted
// anyhow is for delete to say.
func (c *resourceChange) confirm(cmd *cobra.Command, client *registry.Client, yes *yesFlag) error {
	d, err := client.Declared(cmd.Context(), c.app, true)
	if err != nil || d.Resources[c.name] == nil && (d.Secrets[c.name] == "" || d.Secrets[c.name] == creating) {
		return err
	}
	var e *engine.Engine
	if r := d.Resources[c.name]; r != nil {
		if _, err := c.unlinked(d); err != nil || c.notUps(r) != nil {
			return nil
		}
		e, err = c.engine(cmd.Context(), r)
	} else if c.app == "" && c.docker.host != dockerOff {
		// What is left of one may have data all the same.
		e, err = c.docker.open(c.Rack)
	}
	if err != nil || e == nil {
		return err
	}
	defer func() { _ = e.Close() }()
	own, err := e.Data(cmd.Context(), c.name)
	if err != nil || own == "" {
		return err
	}
	return yes.confirm(cmd, fmt.Sprintf("the data of resource %s in volume %s", c.name, own))
}

// delete removes the declaration first, since only that can be done at once
// with finding out that nothing is linked.
func (c *resourceChange) delete(ctx context.Context, client *registry.Client, volumes bool) (kept string, err error) {
	d, err := client.Declared(ctx, c.app, true)
	if err != nil {
		return "", err
	}
	if is, marked := d.Secrets[c.name]; marked && c.app == "" && d.Resources[c.name] == nil {
		if is != creating && !volumes {
			return "", fmt.Errorf("resource %s: %s has credentials of one, and perhaps its data, though none that can be read: --volumes removes all of that for ever", c.name, c.owner())
		}
		return "", c.sweep(ctx, client)
	}
	r, err := c.unlinked(d)
	if err == nil {
		err = c.notUps(r)
	}
	if err != nil {
		return "", err
	}
	e, err := c.engine(ctx, r)
	if err != nil {
		return "", err
	}
	if e == nil {
		return "", c.undeclare(ctx, client, false)
	}
	defer func() { _ = e.Close() }()
	err = alone(ctx, client, c.name, func(ctx context.Context) error {
		if !volumes {
			if kept, err = e.Data(ctx, c.name); err != nil {
				return err
			}
		}
		if err := c.undeclare(ctx, client, kept != ""); err != nil {
			return err
		}
		if err := e.Remove(ctx, c.name, volumes); err != nil {
			return fmt.Errorf("resource %s: is deleted, but what ran for it is not: %w", c.name, err)
		}
		return nil
	})
	return kept, err
}

// undeclare removes the declaration. The password lives as long as the data that
// it opens.
func (c *resourceChange) undeclare(ctx context.Context, client *registry.Client, kept bool) error {
	return client.Edit(ctx, c.app, func(d *registry.Declared) error {
		_, err := c.unlinked(d)
		delete(d.Resources, c.name)
		if !kept {
			delete(d.Secrets, c.name)
		}
		return err
	})
}

// sweep removes what is left where there is no resource: by a creation that was
// cut off, or else with its owner's consent.
func (c *resourceChange) sweep(ctx context.Context, client *registry.Client) error {
	return alone(ctx, client, c.name, func(ctx context.Context) error {
		d, err := client.Declared(ctx, "", false)
		if err != nil {
			return err
		}
		if d.Resources[c.name] != nil {
			return fmt.Errorf("resource %s: somebody else has made it meanwhile", c.name)
		}
		if c.docker.host != dockerOff {
			e, err := c.docker.open(c.Rack)
			if err != nil {
				return err
			}
			defer func() { _ = e.Close() }()
			if err := e.Remove(ctx, c.name, true); err != nil {
				return err
			}
		}
		return client.Edit(ctx, "", func(d *registry.Declared) error {
			if d.Resources[c.name] == nil {
				delete(d.Secrets, c.name)
			}
			return nil
		})
	})
}

// unlinked returns the resource if nobody uses it.
func (c *resourceChange) unlinked(d *registry.Declared) (*registry.Resource, error) {
	r, err := c.find(d, c.name)
	if err != nil {
		return nil, err
	}
	links := slices.Clone(r.Links)
	for _, v := range d.Services {
		for _, uses := range v.Resources {
			if name, _, _ := strings.Cut(uses, ":"); name == c.name {
				links = append(links, v.App+"/"+v.Service)
			}
		}
	}
	if len(links) == 0 {
		return r, nil
	}
	slices.Sort(links)
	return nil, fmt.Errorf("resource %s: is linked to %s; unlink it first", c.name, strings.Join(slices.Compact(links), ", "))
}
