package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/near"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// resourceFlags say whose resources a command is about.
type resourceFlags struct {
	zoneFlags
	app string
}

func (f *resourceFlags) add(flags *pflag.FlagSet) {
	f.zoneFlags.add(flags)
	appFlag(flags, &f.app, "", "app whose resources it is about (default the rack's own)")
}

func (f *resourceFlags) check() error {
	if f.app == "" {
		return nil
	}
	if err := registry.CheckApp("--app", f.app); err != nil {
		return usageError{err}
	}
	return nil
}

// owner is whose resources it is about, in words.
func (f *resourceFlags) owner() string {
	if f.app != "" {
		return "app " + f.app
	}
	return "rack " + f.Rack
}

// find returns a declared resource, or an error that names it.
func (f *resourceFlags) find(d *registry.Declared, name string) (*registry.Resource, error) {
	if r := d.Resources[name]; r != nil {
		return r, nil
	}
	return nil, f.unknown(name, slices.Sorted(maps.Keys(d.Resources)))
}

// unknown says that there is no resource of that name, and which there are.
func (f *resourceFlags) unknown(name string, known []string) error {
	return fmt.Errorf("resource %s: %s has none of that name%s", registry.Quote(name), f.owner(), near.Instead(name, known))
}

func resourcesCommand() *cobra.Command {
	var (
		flags resourceFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:   "resources",
		Short: "List the resources of the rack or of an app, and look after them",
		Long: `List the resources of the rack or of an app: databases, caches and whatever else
is reached by a URL with credentials. Those of the rack are made by create and
linked to apps; those of an app are declared in its convox.yml, or made here from
their URL.

STATUS is what the registry knows: running, or why its container doesn't serve
(paused, starting, unhealthy, draining, drained), stopped if there is one that
doesn't run, missing if there has been none for an hour. What is elsewhere is not
watched: outside. Check asks the servers themselves, those too.`,
		Example: `  rackdns resources
  rackdns resources --app shop -o json
  rackdns resources create postgres`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := flags.list(cmd)
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			var t table
			t.add("NAME", "TYPE", "STATUS")
			for _, r := range all {
				t.add(r.Name, r.Type, shownStatus(r.Status))
			}
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	flags.add(cmd.Flags())
	out.add(cmd.Flags())
	cmd.AddCommand(
		resourceTypesCommand(), resourceOptionsCommand(), resourceInfoCommand(), resourceCheckCommand(),
		resourceCreateCommand(), resourceUpdateCommand(), resourceDeleteCommand(),
		resourceLinkCommand(true), resourceLinkCommand(false),
	)
	return cmd
}

// shownResource is a resource as it is printed. It has no credentials but in
// URL, which only info fills in.
type shownResource struct {
	App    string `json:"app,omitempty"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Status string `json:"status"`
	// Domain is its name in DNS, empty if it has none.
	Domain  string            `json:"domain"`
	Options map[string]string `json:"options"`
	Links   []string          `json:"links"`
	URL     string            `json:"url,omitempty"`
}

func (f *resourceFlags) show(s *index.Snapshot, r *index.Resource) shownResource {
	return shownResource{
		App: r.App, Name: r.Name, Type: r.Type, Status: resource.Status(s, r), Domain: f.domain(r),
		Options: resource.ShownOptions(r.Resource), Links: append([]string{}, r.Links...),
	}
}

// domain returns the resource's name in DNS.
func (f *resourceFlags) domain(r *index.Resource) string {
	zone, err := f.zone()
	if err != nil || !r.Backed && !r.Addr.IsValid() && r.OutsideHost() == "" {
		return ""
	}
	return resourceDomain(r.App, r.Name, zone)
}

func resourceDomain(app, name, zone string) string {
	if app != "" {
		zone = app + "." + zone
	}
	return name + ".resource." + zone
}

// shownStatus is the status for people.
func shownStatus(status string) string {
	if status == resource.StatusOutside {
		return status + ": not checked"
	}
	return status
}

// list returns the resources by name.
func (f *resourceFlags) list(cmd *cobra.Command) ([]shownResource, error) {
	all := []shownResource{}
	s, found, err := f.look(cmd)
	for _, r := range found {
		all = append(all, f.show(s, r))
	}
	return all, err
}

// look returns what the index has.
func (f *resourceFlags) look(cmd *cobra.Command) (*index.Snapshot, []*index.Resource, error) {
	return f.lookAs(cmd, index.Options{})
}

// lookAs is look of a certain server.
func (f *resourceFlags) lookAs(cmd *cobra.Command, o index.Options) (*index.Snapshot, []*index.Resource, error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	if _, err := f.zone(); err != nil {
		return nil, nil, err
	}
	s, err := f.snapshot(cmd.Context(), o)
	if err != nil {
		return nil, nil, err
	}
	if f.app == "" {
		return s, slices.Collect(s.Resources()), nil
	}
	a, err := s.AppNamed(f.app)
	if err != nil {
		return nil, nil, err
	}
	return s, slices.Collect(a.Resources()), nil
}

func resourceTypesCommand() *cobra.Command {
	var (
		app string
		out output
	)
	cmd := &cobra.Command{
		Use:     "types",
		Short:   "List the types of resources that can be had without a URL of one's own, or have options",
		Example: "  rackdns resources types",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{}
			for _, t := range resource.Types(app == "") {
				names = append(names, t.Name)
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), names)
			}
			var t table
			t.add("TYPE")
			for _, name := range names {
				t.add(name)
			}
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	appFlag(cmd.Flags(), &app, "", "list the types of an app's resources, which convox.yml declares")
	out.add(cmd.Flags())
	return cmd
}

// shownOption is an option as it is printed.
type shownOption struct {
	Name        string `json:"name"`
	Default     string `json:"default"`
	Description string `json:"description"`
}

func resourceOptionsCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:               "options TYPE",
		ValidArgsFunction: completeTypes,
		Short:             "List the options of a type of resource",
		Example:           "  rackdns resources options postgres",
		Args:              oneWord("type"),
		RunE: func(cmd *cobra.Command, args []string) error {
			typ, err := knownType(args[0])
			if err != nil {
				return err
			}
			all := []shownOption{}
			var t table
			t.add("NAME", "DEFAULT", "DESCRIPTION")
			for _, o := range typ.Options {
				all = append(all, shownOption{o.Name, o.ShownDefault(), o.Description})
				t.add(o.Name, o.ShownDefault(), o.Description)
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	out.add(cmd.Flags())
	return cmd
}

func knownType(name string) (*resource.Type, error) {
	if t := resource.Lookup(name); t != nil {
		return t, nil
	}
	var known []string
	for _, t := range slices.Concat(resource.Types(true), resource.Types(false)) {
		known = append(known, t.Name)
	}
	return nil, usagef("type %s: has no options%s; see rackdns resources types", registry.Quote(name), near.Hint(name, known))
}

func resourceInfoCommand() *cobra.Command {
	var (
		flags resourceFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:               "info NAME",
		ValidArgsFunction: completeArgs(knownResources),
		Short:             "Show a resource, with its URL and the credentials in it",
		Example: `  rackdns resources info postgres-8458
  rackdns resources info postgres-8458 | grep URL`,
		Args: folded(1, oneWord("resource")),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := flags.info(cmd, args[0])
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			var t table
			t.add("NAME", r.Name)
			t.add("TYPE", r.Type)
			t.add("STATUS", shownStatus(r.Status))
			t.add("DOMAIN", orDash(r.Domain))
			label := "OPTIONS"
			for _, name := range slices.Sorted(maps.Keys(r.Options)) {
				t.add(label, name+"="+r.Options[name])
				label = ""
			}
			if len(r.Links) > 0 {
				t.add("LINKS", strings.Join(r.Links, " "))
			}
			t.add("URL", orDash(r.URL))
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	flags.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

// named returns at which place a resource is, or an error that names those that are.
func (f *resourceFlags) named(all []*index.Resource, name string) (int, error) {
	at := slices.IndexFunc(all, func(r *index.Resource) bool { return r.Name == name })
	if at >= 0 {
		return at, nil
	}
	var known []string
	for _, r := range all {
		known = append(known, r.Name)
	}
	return 0, f.unknown(name, known)
}

func (f *resourceFlags) info(cmd *cobra.Command, name string) (*shownResource, error) {
	s, found, err := f.look(cmd)
	if err != nil {
		return nil, err
	}
	at, err := f.named(found, name)
	if err != nil {
		return nil, err
	}
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	d, err := client.Declared(cmd.Context(), f.app, true)
	if err != nil {
		return nil, err
	}
	shown := f.show(s, found[at])
	shown.URL = d.Secrets[name]
	return &shown, nil
}
