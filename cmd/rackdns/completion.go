package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/index"
)

// completionPatience is how long somebody who pressed a key waits for the
// registry.
const completionPatience = time.Second

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete our commands",
		Long: `Print what makes a shell complete our commands, their flags, and the apps and
services that there are. Apps and services are asked of the registry, at the
place that the environment says, such as RACKDNS_ETCD and RACKDNS_RACK.

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

// completeFlags makes the values of flags with a few fixed ones known, for all
// commands below one: those whose type in the help is like "text|json".
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if strings.Contains(f.Value.Type(), "|") {
			values := strings.Split(f.Value.Type(), "|")
			// It fails only for a flag that isn't there.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

// completeApps completes the first n arguments of a command: an app, and a
// service of it. It says nothing where the registry is away.
func completeApps(reg *registryFlags, n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const nothingElse = cobra.ShellCompDirectiveNoFileComp
		if len(args) >= n {
			return nil, nothingElse
		}
		s := completionSnapshot(cmd, reg)
		if s == nil {
			return nil, nothingElse
		}
		var all []string
		if len(args) == 0 {
			for a := range s.Apps() {
				all = append(all, a.Name)
			}
		} else if a := s.App(args[0]); a != nil {
			for v := range s.Services(a) {
				all = append(all, v.Name())
			}
		}
		return all, nothingElse
	}
}

// completeNames completes the name of a service in DNS.
func completeNames(reg *zoneFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const nothingElse = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, nothingElse
		}
		s := completionSnapshot(cmd, &reg.registryFlags)
		zone, err := reg.zone()
		if s == nil || err != nil {
			return nil, nothingElse
		}
		var all []string
		for a := range s.Apps() {
			for v := range s.Services(a) {
				all = append(all, v.Name()+"."+v.App()+"."+zone)
			}
		}
		return all, nothingElse
	}
}

// completionSnapshot returns nil if the registry can't be read at once.
func completionSnapshot(cmd *cobra.Command, reg *registryFlags) *index.Snapshot {
	// Whoever completes has run nothing before this.
	if setFromEnvironment(cmd.Flags()) != nil {
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
