package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// apiServer is the command api.
type apiServer struct {
	zoneFlags
	// racks are those that are served, the one of --rack if there are none.
	racks    []string
	node     string
	routable []string
	http     httpFlag
}

func apiCommand() *cobra.Command {
	a := &apiServer{}
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Serve HTTP: the rack's names for programs, Prometheus and others",
		Long: `Serve HTTP: the rack's names for programs, Prometheus and others, from a picture
of the registry in memory. rackdns standalone serves the same.

Without a token only this host may ask, and only for names. 'rackdns rack-url'
prints the URL with the token that is made at the first start.`,
		Example: `  rackdns api --rack acme --etcd http://10.0.2.5:2379
  rackdns api --racks acme,beta --http 0.0.0.0:8443 --http-cert cert.pem --http-key key.pem
  curl 'http://127.0.0.1:8080/api/v1/services/shop?index=7&wait=1m'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port := os.Getenv("PORT"); port != "" && !cmd.Flags().Changed("http") {
				// As Lyft's discovery is told where to listen.
				a.http.address = "127.0.0.1:" + port
			}
			if err := a.http.check(cmd.Context(), cmd.Flags(), ""); err != nil {
				return err
			}
			// It has nothing else to do.
			a.http.yields, a.http.alone = false, true
			if a.http.address == "" {
				return usagef("--http %s: there is nothing else to serve", httpOff)
			}
			return a.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	a.add(f)
	f.StringSliceVar(&a.racks, "racks", nil, "racks to serve, the first of which is meant where none is named (default the one of --rack)")
	f.StringVar(&a.node, "node", "", "node on whose networks this is (default this host)")
	f.StringSliceVar(&a.routable, "routable", nil, "networks that everybody can reach, by name or ID, as in the Corefile")
	f.StringVar(&a.http.tokens.data, "data", registry.DefaultDataDir(), "directory with the file of tokens")
	a.http.addHTTP(f)
	return cmd
}

func (a *apiServer) run(ctx context.Context) (err error) {
	if _, err := a.zone(); err != nil {
		return err
	}
	node, err := nodeName(a.node)
	if err != nil {
		return err
	}
	if len(a.racks) == 0 {
		a.racks = []string{a.Rack}
	}
	var names []string
	for _, name := range a.racks {
		name = strings.ToLower(name)
		if err := registry.CheckLabel("--racks", name); err != nil {
			return usageError{err}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	log := setUpLog()
	serving()
	var racks []*httpapi.Rack
	var ends []func() error
	defer func() {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
	}()
	for _, name := range names {
		rack := &httpapi.Rack{Name: name, Zone: name + "." + cleanSuffix(a.suffix), Node: node}
		end, e := a.follow(rack, log)
		if e != nil {
			return e
		}
		ends = append(ends, end)
		racks = append(racks, rack)
	}
	stop, err := a.http.serve(racks, func() string {
		for _, r := range racks {
			if _, err := r.Snapshot(); err != nil {
				return "the registry of rack " + r.Name
			}
		}
		return ""
	}, log)
	if err != nil {
		return err
	}
	defer stop()
	log.Info("serving HTTP", "url", a.http.url(), "racks", names, "tokens", a.http.tokens.path())
	<-ctx.Done()
	log.Info("stopping")
	return nil
}

// follow has a rack read from its registry, and written there.
func (a *apiServer) follow(rack *httpapi.Rack, log *slog.Logger) (end func() error, err error) {
	f := registryFlags{a.Config}
	f.Rack = rack.Name
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	x, giveBack, err := index.Acquire(index.Config{
		Registry: f.Config, Options: index.Options{Node: rack.Node, Routable: a.routable}, Logger: log,
	})
	if err != nil {
		return nil, errors.Join(usageError{err}, client.Close())
	}
	rack.Follow(x, client)
	return func() error { return errors.Join(giveBack(), client.Close()) }, nil
}
