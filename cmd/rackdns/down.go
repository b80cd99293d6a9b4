package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/registry"
)

// defaultManifest is where an app is described, in its own directory.
const defaultManifest = "convox.yml"

// appFlags say which app, of which rack and on which engine.
type appFlags struct {
	registry          registryFlags
	docker, app, file string
}

func (f *appFlags) add(flags *pflag.FlagSet) {
	f.registry.add(flags)
	flags.StringVar(&f.docker, "docker", "", "address of the Docker Engine (default as for the docker command)")
	appFlag(flags, &f.app, "", "name of the app, whichever directory it was brought up from (default that of the manifest's directory)")
	flags.StringVarP(&f.file, "file", "f", defaultManifest, "the app's manifest")
}

// config returns what the flags say, checked.
func (f *appFlags) config(cmd *cobra.Command) (deploy.Config, error) {
	cfg := deploy.Config{Docker: f.docker, App: f.app, Out: cmd.OutOrStdout(), Named: f.app != ""}
	if err := checkDocker(f.docker); err != nil {
		return cfg, err
	}
	var err error
	if cfg.Directory, err = deploy.DirectoryOf(f.file); err != nil {
		return cfg, err
	}
	_, err = os.Stat(f.file)
	cfg.Written = err == nil
	if cfg.App == "" {
		app, err := deploy.AppOf(filepath.Dir(f.file))
		if err != nil {
			return cfg, usagef("%w: give one with --app", err)
		}
		cfg.App = app
	} else if err := registry.CheckApp("--app", cfg.App); err != nil {
		return cfg, usageError{err}
	}
	client, err := f.registry.open()
	if err != nil {
		return cfg, err
	}
	cfg.Registry = f.registry.Config
	return cfg, client.Close()
}

func downCommand() *cobra.Command {
	var (
		flags           appFlags
		volumes, images bool
		yes             yesFlag
	)
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop and remove what up has brought up",
		Long: `Stop and remove the containers of an app that rackdns up has started on this
host's Docker Engine, and what is declared of it: the app is gone from DNS. The
data of its resources stay, with the passwords that were made for them, and so
does what up has not made.

The manifest is not read: only its directory counts, which names the app. From
another directory than the one that the app was brought up from, the app has to
be given by name. An app that there is nothing of is an error, unless its manifest
is there. --volumes removes the data too; it names them, and asks. --images removes
the images that up has built, unless something else uses them.`,
		Example: `  rackdns down
  rackdns down --app shop --images
  rackdns down --app shop --volumes --yes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.config(cmd)
			if err != nil {
				return err
			}
			return deploy.Down(cmd.Context(), deploy.DownConfig{
				Config: cfg, Volumes: volumes, Images: images,
				Confirm: func(names []string) error {
					return yes.confirm(cmd, fmt.Sprintf("the data of app %s in volume %s", cfg.App, strings.Join(names, ", ")))
				},
			})
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove the data of its resources too, for ever")
	cmd.Flags().BoolVar(&images, "images", false, "remove the images too that were built for it, and the releases that need them")
	yes.add(cmd.Flags())
	return cmd
}
