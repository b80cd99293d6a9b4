package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/registry"
)

// nodeFlags say what this host is, for those commands that run an agent.
type nodeFlags struct {
	docker, node, hostAddress string
	imageLabels, onlyLabelled bool
}

func (f *nodeFlags) add(flags *pflag.FlagSet, docker string) {
	flags.StringVar(&f.docker, "docker", "", docker)
	flags.StringVar(&f.node, "node", "", "name of this host (default the host's own)")
	flags.StringVar(&f.hostAddress, "host-address", "", "address of this host for others (default that of the default route)")
	flags.BoolVar(&f.imageLabels, "image-labels", false, "have all labels of images count, not only those of ports, health and tags")
	flags.BoolVar(&f.onlyLabelled, "only-labelled", false, "register only containers that have a label rackdns.… of their own")
}

// config returns what the flags say, checked.
func (f *nodeFlags) config() (agent.Config, error) {
	node, err := nodeName(f.node)
	if err != nil {
		return agent.Config{}, err
	}
	ip, err := parseHostAddress(f.hostAddress)
	if err != nil {
		return agent.Config{}, err
	}
	if err := checkDocker(f.docker); err != nil {
		return agent.Config{}, err
	}
	return agent.Config{
		DockerHost: f.docker, Node: node, HostAddress: ip, Version: version, ImageLabels: f.imageLabels, OnlyLabelled: f.onlyLabelled,
	}, nil
}

// checkDocker checks the address of an engine, which may be empty.
func checkDocker(host string) error {
	if host == "" {
		return nil
	}
	// What follows the scheme, if there is one.
	address := host[strings.Index(host, "://")+1:]
	if at := strings.LastIndexByte(address, '@'); at >= 0 && strings.Contains(strings.TrimPrefix(address[:at], "//"), ":") {
		return usagef("--docker %q: an address is no place for a password", "…"+address[at:])
	}
	if _, err := dockerclient.Find(host); err != nil {
		return usagef("--docker %q: %w", host, err)
	}
	return nil
}

func agentCommand() *cobra.Command {
	var (
		reg    registryFlags
		node   nodeFlags
		ttl    time.Duration
		drain  bool
		dry    bool
		out    output
		metric httpFlag
	)
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Register the containers of this host's Docker Engine",
		Long: `Register the containers of this host's Docker Engine in the rack's registry.

When the agent stops, the names of its containers stay for as long as its
lease, so that an upgrade goes unnoticed; with --drain it removes them.`,
		Example: `  rackdns agent --rack acme --etcd http://10.0.2.5:2379
  rackdns agent --rack acme --metrics 127.0.0.1:9154
  rackdns agent --rack acme --dry-run -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := node.config()
			if err != nil {
				return err
			}
			if ttl < 2*time.Second || ttl%time.Second != 0 {
				return usagef("--ttl %s: want whole seconds, two or more", ttl)
			}
			cfg.TTL, cfg.DrainOnStop, cfg.Logger = ttl, drain, setUpLog()
			if err := metric.check(cmd.Context(), cmd.Flags(), node.hostAddress); err != nil {
				return err
			}
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			if dry {
				cfg.Rack = client.Layout().Rack()
				return dryRun(cmd.Context(), cfg, cmd.OutOrStdout(), out)
			}
			return runAgent(cmd.Context(), cfg, client, &metric)
		},
	}
	reg.add(cmd.Flags())
	node.add(cmd.Flags(), "address of the Docker Engine (default as for the docker command)")
	cmd.Flags().DurationVar(&ttl, "ttl", registry.DefaultTTL, "how long names outlive the agent")
	cmd.Flags().BoolVar(&drain, "drain", false, "remove this host's names when the agent stops")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print what would be registered, and register nothing")
	out.add(cmd.Flags())
	metric.addMetrics(cmd.Flags())
	return cmd
}

func runAgent(ctx context.Context, cfg agent.Config, client *registry.Client, metrics *httpFlag) error {
	serving()
	cfg.Registry = client
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	stop, err := metrics.serve(nil, func() string {
		select {
		case <-a.Ready():
			return ""
		default:
			return "the first list of containers"
		}
	}, cfg.Logger)
	if err != nil {
		return err
	}
	defer stop()
	if err := client.Check(ctx); err != nil && ctx.Err() == nil {
		cfg.Logger.Warn("registry out of reach, and keep trying", "error", err)
	}
	address := "not known yet"
	if ip := a.HostAddress(); ip.IsValid() {
		address = ip.String()
	}
	cfg.Logger.Info("watching Docker", "rack", client.Layout().Rack(), "node", cfg.Node, "address", address, "registry", client.Endpoints())
	return a.Run(ctx)
}
