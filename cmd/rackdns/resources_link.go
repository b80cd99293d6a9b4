package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// resourceLinkCommand returns link, or unlink.
func resourceLinkCommand(link bool) *cobra.Command {
	var (
		reg registryFlags
		app string
	)
	cmd := &cobra.Command{
		Use:               "link NAME APP[/SERVICE]",
		Short:             "Give a resource of the rack to an app, or to one service of it",
		ValidArgsFunction: completeArgs(rackResources, linkable),
		Example: `  rackdns resources link postgres-8458 shop
  rackdns resources link postgres-8458 shop/web`,
	}
	doing, preposition := "Linking", "to"
	if !link {
		cmd.Use, cmd.Short = "unlink NAME APP[/SERVICE]", "Take a resource of the rack from an app, or from one service of it"
		cmd.Example = strings.ReplaceAll(cmd.Example, " link ", " unlink ")
		doing, preposition = "Unlinking", "from"
	}
	cmd.Args = folded(2, func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || len(args) > 2 {
			return usagef("%s takes a resource and an app, or a service of it; see %[1]s --help", cmd.CommandPath())
		}
		return nil
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := linked(cmd, args)
		if err != nil {
			return err
		}
		client, err := reg.open()
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		if err := client.CheckRack(cmd.Context()); err != nil {
			return err
		}
		name := args[0]
		return report(cmd.OutOrStdout(), fmt.Sprintf("%s %s %s %s", doing, name, preposition, to), func() (string, error) {
			return "", editLinks(cmd.Context(), client, name, to, link)
		})
	}
	reg.add(cmd.Flags())
	appFlag(cmd.Flags(), &app, "", "the app, in place of the argument")
	return cmd
}

// linked returns the app, or the service of it, that a resource is linked to.
func linked(cmd *cobra.Command, args []string) (string, error) {
	to := ""
	if len(args) == 2 {
		app, service, ofService := strings.Cut(args[1], "/")
		if err := checkLink(args[0], args[1]); err != nil {
			return "", err
		}
		if _, err := theApp(cmd, []string{app}); err != nil {
			return "", err
		}
		if to = app; ofService {
			to += "/" + service
		}
		return to, nil
	}
	to, err := theApp(cmd, nil)
	if err == nil && to == "" {
		err = usagef("%s takes a resource and an app, or a service of it; see %[1]s --help", cmd.CommandPath())
	}
	if err != nil {
		return "", err
	}
	return to, checkLink(args[0], to)
}

func checkLink(name, to string) error {
	for _, arg := range []string{name, strings.ReplaceAll(to, "/", "")} {
		if err := notURL("link", arg); err != nil {
			return err
		}
	}
	app, service, ofService := strings.Cut(to, "/")
	for _, err := range []error{registry.CheckLabel("resource", name), registry.CheckApp("app", app)} {
		if err != nil {
			return usageError{err}
		}
	}
	if !ofService {
		return nil
	}
	if err := registry.CheckLabel("service", service); err != nil {
		return usageError{err}
	}
	return nil
}

func editLinks(ctx context.Context, client *registry.Client, name, to string, link bool) error {
	rack := resourceFlags{}
	rack.Rack = client.Layout().Rack()
	return client.Edit(ctx, "", func(d *registry.Declared) error {
		r, err := rack.find(d, name)
		if err != nil {
			return err
		}
		return resource.SetLink(r, to, link)
	})
}
