package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/resource"
)

// completionPatience is how long somebody who pressed a key waits for the
// registry.
const completionPatience = time.Second

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete our commands",
		Long: `Print what makes a shell complete our commands, their flags, and what there is:
apps, services, releases, resources with their types and options, nodes and racks
of the registry, at the place that the command line or the environment says, such
as RACKDNS_ETCD and RACKDNS_RACK; and containers of this host's Docker Engine.
Where that can't be asked within a second, nothing is proposed.

bash needs the package bash-completion.`,
		Example: `  rackdns completion bash > /etc/bash_completion.d/rackdns
  source <(rackdns completion zsh)
  rackdns completion fish > ~/.config/fish/completions/rackdns.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usagef("%s takes one shell: %s; see %[1]s --help", cmd.CommandPath(), strings.Join(shells, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			default:
				return root.GenFishCompletion(w, true)
			}
		},
	}
}

// completeFlags makes the values of flags known, for all commands below one: those
// of a few fixed ones, whose type in the help is like "text|json", and those that
// name what there is in the registry.
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		complete, ok := flagsOfNames[f.Name]
		switch {
		case strings.Contains(f.Value.Type(), "|"):
			complete = cobra.FixedCompletions(strings.Split(f.Value.Type(), "|"), cobra.ShellCompDirectiveNoFileComp)
		case !ok || cmd.Flags().Lookup("etcd") == nil:
			return
		}
		// It fails only for a flag that isn't there.
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete)
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

// flagsOfNames are the flags whose values name something in the registry.
var flagsOfNames = map[string]cobra.CompletionFunc{
	"app":     completeEach(knownApps),
	"service": completeEach(knownServices),
	"release": completeEach(knownReleases),
	"rack":    completeRacks,
	"from":    completeAskers,
}

// offer is what there is of a kind for a command with these arguments.
type offer func(s *index.Snapshot, cmd *cobra.Command, args []string) []string

// completeEach completes whatever is asked for by an offer.
func completeEach(o offer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if s := completionSnapshot(cmd); s != nil {
			return o(s, cmd, args), nothingElse
		}
		return nil, nothingElse
	}
}

// completeArgs completes arguments, each by the offer of its place.
func completeArgs(places ...offer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, nothingElse
		}
		return completeEach(places[len(args)])(cmd, args, word)
	}
}

// nothingElse says that no files are proposed: no argument of those is one.
const nothingElse = cobra.ShellCompDirectiveNoFileComp

func knownApps(s *index.Snapshot, _ *cobra.Command, _ []string) (all []string) {
	for a := range s.Apps() {
		all = append(all, a.Name)
	}
	return all
}

// chosen are the apps that the flag or the first argument names, all without.
func chosen(s *index.Snapshot, cmd *cobra.Command, args []string) []*index.App {
	name := ""
	if f := cmd.Flags().Lookup("app"); f != nil {
		name = f.Value.String()
	}
	if name == "" && len(args) > 0 {
		name = args[0]
	}
	if a := s.App(name); a != nil {
		return []*index.App{a}
	}
	if name != "" {
		return nil
	}
	return slices.Collect(s.Apps())
}

func knownServices(s *index.Snapshot, cmd *cobra.Command, args []string) (all []string) {
	for _, a := range chosen(s, cmd, args) {
		for v := range s.Services(a) {
			all = append(all, v.Name())
		}
	}
	return sorted(all)
}

// servicesOfFlag are the services for a command whose argument is one, and no app.
func servicesOfFlag(s *index.Snapshot, cmd *cobra.Command, _ []string) []string {
	return knownServices(s, cmd, nil)
}

// appsOrServices are services where the app is given already.
func appsOrServices(s *index.Snapshot, cmd *cobra.Command, args []string) []string {
	if cmd.Flags().Changed("app") {
		return knownServices(s, cmd, args)
	}
	return knownApps(s, cmd, args)
}

// linkable are apps, and services as in shop/web.
func linkable(s *index.Snapshot, cmd *cobra.Command, args []string) []string {
	all := knownApps(s, cmd, args)
	for a := range s.Apps() {
		for v := range s.Services(a) {
			all = append(all, a.Name+"/"+v.Name())
		}
	}
	return all
}

func knownReleases(s *index.Snapshot, cmd *cobra.Command, args []string) (all []string) {
	for _, a := range chosen(s, cmd, args) {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				if r := i.Release(); r != "" {
					all = append(all, r)
				}
			}
		}
	}
	return sorted(all)
}

func knownNodes(s *index.Snapshot, _ *cobra.Command, _ []string) (all []string) {
	for _, n := range s.Nodes() {
		all = append(all, n.Node)
	}
	return sorted(all)
}

// resources are those of the app that the flag names, or the rack's.
func knownResources(s *index.Snapshot, cmd *cobra.Command, _ []string) (all []string) {
	of := s.Resources()
	if f := cmd.Flags().Lookup("app"); f != nil && f.Value.String() != "" {
		a := s.App(f.Value.String())
		if a == nil {
			return nil
		}
		of = a.Resources()
	}
	for r := range of {
		all = append(all, r.Name)
	}
	return all
}

// rackResources are the rack's, whichever app is given.
func rackResources(s *index.Snapshot, _ *cobra.Command, _ []string) (all []string) {
	for r := range s.Resources() {
		all = append(all, r.Name)
	}
	return all
}

// names are those of services in DNS.
func knownNames(s *index.Snapshot, cmd *cobra.Command, _ []string) (all []string) {
	zone, err := zoneOf(cmd)
	if err != nil {
		return nil
	}
	for a := range s.Apps() {
		for v := range s.Services(a) {
			all = append(all, v.Name()+"."+v.App()+"."+zone)
		}
	}
	return all
}

// zoneOf is the rack's, by the flags of a command.
func zoneOf(cmd *cobra.Command) (string, error) {
	var f zoneFlags
	f.Rack = cmd.Flags().Lookup("rack").Value.String()
	f.suffix = cmd.Flags().Lookup("suffix").Value.String()
	return f.zone()
}

// completeTypes completes a type of resource and then its options.
func completeTypes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completeOptions(args[0], args[1:])
	}
	var all []string
	for _, t := range slices.Concat(resource.Types(true), resource.Types(false)) {
		if cmd.Name() != "options" || len(t.Options) > 0 {
			all = append(all, t.Name)
		}
	}
	return sorted(all), nothingElse
}

// completeOptions completes the options of a type, but those that are given.
func completeOptions(kind string, given []string) ([]string, cobra.ShellCompDirective) {
	t := resource.Lookup(kind)
	if t == nil {
		return nil, nothingElse
	}
	var all []string
	for _, o := range t.Options {
		name := o.Name + "="
		if !o.Secret && !slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, name) }) {
			all = append(all, name)
		}
	}
	return all, nothingElse | cobra.ShellCompDirectiveNoSpace
}

// completeUpdate completes a resource and then the options of its type.
func completeUpdate(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeEach(knownResources)(cmd, args, word)
	}
	s := completionSnapshot(cmd)
	if s == nil {
		return nil, nothingElse
	}
	of := s.Resources()
	if a := s.App(cmd.Flags().Lookup("app").Value.String()); a != nil {
		of = a.Resources()
	}
	for r := range of {
		if r.Name == args[0] {
			return completeOptions(r.Type, args[1:])
		}
	}
	return nil, nothingElse
}

func completeRacks(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	reg := registryOf(cmd)
	if reg == nil {
		return nil, nothingElse
	}
	// The one that is being typed is none yet.
	reg.Rack = defaultRack
	client, err := reg.open()
	if err != nil {
		return nil, nothingElse
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	all, _ := client.Racks(ctx)
	return all, nothingElse
}

// completeContainers completes one argument with the names of the containers of
// this host's engine.
func completeContainers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, nothingElse
	}
	return containers(cmd), nothingElse
}

// completeAskers completes who may ask: a service, or a container of this host.
func completeAskers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	all := containers(cmd)
	if s := completionSnapshot(cmd); s != nil {
		for a := range s.Apps() {
			for v := range s.Services(a) {
				all = append(all, v.Name()+"."+v.App())
			}
		}
	}
	return all, nothingElse
}

// containers are the names of those of this host's engine, none if it can't be
// asked.
func containers(cmd *cobra.Command) []string {
	if setFromEnvironment(cmd.Flags()) != nil {
		return nil
	}
	c, err := dockerclient.Dial(cmd.Flags().Lookup("docker").Value.String())
	if err != nil {
		return nil
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	list, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil
	}
	var all []string
	for _, is := range list {
		if len(is.Names) > 0 {
			all = append(all, strings.TrimPrefix(is.Names[0], "/"))
		}
	}
	return sorted(all)
}

func sorted(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// registryOf returns where a command finds the registry, by its flags and the
// environment; nil if it has no such flags, or they are wrong.
func registryOf(cmd *cobra.Command) *registryFlags {
	// Whoever completes has run nothing before this.
	if cmd.Flags().Lookup("etcd") == nil || setFromEnvironment(cmd.Flags()) != nil {
		return nil
	}
	var f registryFlags
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.add(own)
	own.VisitAll(func(to *pflag.Flag) {
		from := cmd.Flags().Lookup(to.Name)
		if from == nil || !from.Changed {
			return
		}
		if list, ok := from.Value.(pflag.SliceValue); ok {
			if own, ok := to.Value.(pflag.SliceValue); ok {
				_ = own.Replace(list.GetSlice())
			}
			return
		}
		_ = to.Value.Set(from.Value.String())
	})
	return &f
}

// completionSnapshot returns nil if the registry can't be read at once.
func completionSnapshot(cmd *cobra.Command) *index.Snapshot {
	reg := registryOf(cmd)
	if reg == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	s, err := reg.snapshot(ctx, index.Options{})
	if err != nil {
		return nil
	}
	return s
}
