package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/registry"
)

func rollbackCommand() *cobra.Command {
	var (
		flags   upFlags
		release string
	)
	cmd := &cobra.Command{
		Use:   "rollback [APP]",
		Short: "Bring an app back as it was before the last up",
		Long: `Bring an app back as it was before the last up: the manifest, the images and the
environment of the release before, which the registry and the engine have kept.
Neither the app's directory nor its sources are read. Containers are replaced as
by rackdns up, and the data of resources stay.

That makes a new release. So a rollback is taken back by another one, and the
next up brings up what is in the app's directory again. The images of a service
are kept for the present release and three before.`,
		Example: `  rackdns rollback shop
  rackdns rollback shop --release RLEUTDHBBKD`,
		Args: oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.positional(cmd, args); err != nil {
				return err
			}
			up, err := flags.config(cmd)
			if err != nil {
				return err
			}
			return asUsage(deploy.Rollback(cmd.Context(), deploy.RollbackConfig{UpConfig: up, Release: release}))
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownApps)
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&release, "release", "", "the release to bring back (default the one before)")
	return cmd
}

// positional takes the app that stands where it needs no flag.
func (f *appFlags) positional(cmd *cobra.Command, args []string) error {
	app, err := theApp(cmd, args)
	f.app = registry.FoldName(app)
	return err
}

func releasesCommand() *cobra.Command {
	var (
		flags appFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:   "releases [APP]",
		Short: "List what an app was brought up as on this host, the present one first",
		Long: `List what an app was brought up as on this host's Docker Engine, the present one
first. FROM is the release that a rollback has brought back. The last twenty are
remembered; those whose images are gone can't be brought back.`,
		Example: `  rackdns releases shop`,
		Args:    oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.positional(cmd, args); err != nil {
				return err
			}
			cfg, err := flags.config(cmd)
			if err != nil {
				return err
			}
			all, err := deploy.Releases(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), asListed(all))
			}
			var t table
			t.add("RELEASE", "CREATED", "FROM", "SERVICES")
			for _, r := range asListed(all) {
				t.add(r.Release, age(r.Created, time.Now()), orDash(r.From), strings.Join(r.Services, " "))
			}
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownApps)
	flags.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

// listedRelease is what everybody may see of a release.
type listedRelease struct {
	Release  string    `json:"release"`
	Created  time.Time `json:"created"`
	From     string    `json:"from"`
	Services []string  `json:"services"`
}

func asListed(all []*registry.Release) []listedRelease {
	list := []listedRelease{}
	for _, r := range all {
		list = append(list, listedRelease{r.Release, r.Created, r.From, slices.Sorted(maps.Keys(r.Components))})
	}
	return list
}
