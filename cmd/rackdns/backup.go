package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/data"
	"github.com/rackdns/rackdns/internal/terminal"
)

// ofRack stands for the rack where an app is asked for.
const ofRack = "@rack"

// stdio stands for standard input or output where a file is asked for.
const stdio = "-"

// dataFlags say whose data a command is about.
type dataFlags struct {
	registry  registryFlags
	docker    string
	app, name string
	file      string
}

func (f *dataFlags) add(flags *pflag.FlagSet) {
	f.registry.add(flags)
	flags.StringVar(&f.docker, "docker", "", "address of the Docker Engine (default as for the docker command)")
}

// args takes APP RESOURCE [FILE].
func (f *dataFlags) args(cmd *cobra.Command, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return usagef("%s takes an app (or %s), a resource and a file; see %[1]s --help", cmd.CommandPath(), ofRack)
	}
	if args[0] != ofRack {
		if err := notURL("app", args[0]); err != nil {
			return err
		}
		f.app = registry.FoldName(args[0])
		if err := registry.CheckApp("app", f.app); err != nil {
			return usageError{err}
		}
	}
	if err := notURL("resource", args[1]); err != nil {
		return err
	}
	f.name = registry.FoldName(args[1])
	if err := registry.CheckLabel("resource", f.name); err != nil {
		return usageError{err}
	}
	if len(args) == 3 {
		f.file = args[2]
	}
	return checkDocker(f.docker)
}

// owner is whose resource it is, in words.
func (f *dataFlags) owner() string {
	if f.app == "" {
		return "rack " + f.registry.Rack
	}
	return "app " + f.app
}

// with does something with the server of the resource, while nobody else changes
// it.
func (f *dataFlags) with(ctx context.Context, check func(*resource.Type) error, do func(context.Context, *data.Server) error) error {
	client, err := f.registry.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	d, err := client.Declared(ctx, f.app, true)
	if err != nil {
		return err
	}
	r := d.Resources[f.name]
	if r == nil {
		return fmt.Errorf("resource %s: %s has none of that name", registry.Quote(f.name), f.owner())
	}
	t := resource.Lookup(r.Type)
	if t == nil || !t.Runs() {
		return fmt.Errorf("resource %s: one of type %s is not run here: back it up where it is", f.name, registry.Quote(r.Type))
	}
	if err := check(t); err != nil {
		return err
	}
	docker, err := dockerclient.Dial(f.docker)
	if err != nil {
		return err
	}
	defer func() { _ = docker.Close() }()
	lock := "up/" + f.app
	if f.app == "" {
		lock = "resource/" + f.name
	}
	held, release, err := client.Lock(ctx, lock, func() {})
	if err != nil {
		return err
	}
	defer release.Release()
	s, err := data.Find(held, docker, f.registry.Rack, f.app, f.name, t, d.Secrets[f.name])
	if err != nil {
		return err
	}
	return do(held, s)
}

func backupCommand() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use:   "backup APP RESOURCE [FILE]",
		Short: "Write the data of a resource to a file",
		Long: `Write all data of a resource that runs on this host's Docker Engine to a file, as
of one moment, while it is used: by pg_dump, mysqldump or mariadb-dump, or as
Redis' own dump, in their formats. The programs are those of its container.

The file is written whole or not at all, is for its owner's eyes alone, and takes
no other one's place. Without FILE it is called by app, resource and time; - is
standard output. ` + ofRack + ` stands for an app where the resource is the rack's own.`,
		Example: `  rackdns backup shop db
  rackdns backup shop db db.dump
  rackdns backup ` + ofRack + ` postgres-8458 - | gzip > postgres-8458.dump.gz`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, _ []string) error {
			check := func(t *resource.Type) error {
				if _, err := t.Dump(resource.Account{}); err != nil {
					return fmt.Errorf("resource %s: %w", f.name, err)
				}
				return nil
			}
			return f.with(cmd.Context(), check, func(ctx context.Context, s *data.Server) error {
				if f.file == stdio {
					return s.Backup(ctx, cmd.OutOrStdout())
				}
				if f.file == "" {
					owner := f.app
					if owner == "" {
						owner = f.registry.Rack
					}
					f.file = owner + "-" + f.name + "-" + time.Now().UTC().Format("20060102T150405Z") + ".dump"
				}
				if err := data.WriteFile(f.file, func(w io.Writer) error { return s.Backup(ctx, w) }); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), terminal.Text(f.file))
				return err
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func restoreCommand() *cobra.Command {
	var (
		f   dataFlags
		yes yesFlag
	)
	cmd := &cobra.Command{
		Use:   "restore APP RESOURCE [FILE]",
		Short: "Put the data of a file in the place of those that a resource has",
		Long: `Put the data of a file that rackdns backup has written, or pg_dump, mysqldump,
mariadb-dump or Redis, in the place of those that a resource has. What the
resource has of what is in the file is lost, so this asks first, or needs --yes.

A file of another type, or one that is cut off, is refused, and nothing is
changed then; nor is it by one that the server doesn't take. A Redis is stopped
for it. Without FILE, or where it is -, it is standard input.`,
		Example: `  rackdns restore shop db db.dump
  zcat postgres-8458.dump.gz | rackdns restore ` + ofRack + ` postgres-8458 --yes`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dump, name, err := f.openDump(cmd)
			if err != nil {
				return err
			}
			defer func() { _ = dump.Close() }()
			var format resource.Format
			check := func(t *resource.Type) error {
				info, err := dump.Stat()
				if err == nil {
					format, err = t.CheckDump(dump, info.Size())
				}
				if err != nil {
					return fmt.Errorf("%s: %w: nothing was changed", name, err)
				}
				return nil
			}
			return f.with(cmd.Context(), check, func(ctx context.Context, s *data.Server) error {
				what := fmt.Sprintf("the data of resource %s of %s in volume %s", f.name, f.owner(), s.Volume)
				if err := yes.ask(cmd, "would put "+name+" in the place of "+what, "Put "+terminal.Text(name)+" in the place of "+what+"?"); err != nil {
					return err
				}
				if err := s.Restore(ctx, dump, format); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s has the data of %s\n", f.name, terminal.Text(name))
				return err
			})
		},
	}
	f.add(cmd.Flags())
	yes.add(cmd.Flags())
	return cmd
}

// openDump opens the file to be restored. What is no file is read first: it is
// looked at from both ends before anything is done.
func (f *dataFlags) openDump(cmd *cobra.Command) (*os.File, string, error) {
	if f.file == "" || f.file == stdio {
		dump, err := data.Spool(cmd.InOrStdin())
		return dump, "standard input", err
	}
	file, err := os.Open(f.file)
	if err != nil {
		return nil, "", usageError{err}
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		return file, f.file, nil
	}
	defer func() { _ = file.Close() }()
	dump, err := data.Spool(file)
	return dump, f.file, err
}
