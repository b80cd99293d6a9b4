package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/embedded"
	"github.com/rackdns/rackdns/plugin/rack"
	"github.com/rackdns/rackdns/plugin/recursion"
)

// dockerOff is the value of --docker that means: no agent.
const dockerOff = "off"

// firstList is how long DNS waits for the first list of containers, so that it
// never says what was true before a restart.
const firstList = 5 * time.Second

// standalone is a whole rack on one host: a process, and its registry's.
type standalone struct {
	rack, suffix string
	dns          []string
	// namespaces are apps whose short names the world knows too.
	namespaces []string
	// forwarders are networks of DNS servers that ask on behalf of others.
	forwarders []string
	// recursion says for whom names outside of the rack are looked up.
	recursion []string
	// upstreams are the DNS servers that they are looked up at.
	upstreams []string
	etcd      listenFlags
	data      string
	preserve  time.Duration
	node      nodeFlags
	http      httpFlag
	// told is the rack as HTTP tells of it.
	told *httpapi.Rack
	// registry is how the registry is reached, once it is there.
	registry atomic.Pointer[registry.Config]

	log *slog.Logger
	// alone is that there is nobody to forward to, unchanged that a change of
	// that failed.
	alone, unchanged *lasting.Trouble
	// answers says that the DNS server is there.
	answers atomic.Bool
}

func standaloneCommand() *cobra.Command {
	s := &standalone{}
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Run a whole rack on this host: registry, DNS server and agent",
		Example: `  rackdns standalone
  rackdns standalone --rack acme --dns 127.0.0.1:1053 --dns 172.17.0.1:53`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.http.check(cmd.Context(), cmd.Flags(), s.node.hostAddress); err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	rackFlag(f, &s.rack)
	f.StringVar(&s.suffix, "suffix", "convox", "domain of the rack: its zone is <rack>.<suffix>")
	f.StringSliceVar(&s.dns, "dns", []string{"127.0.0.1:1053"}, "where to answer DNS queries, ADDRESS:PORT, HOST:PORT or :PORT; can be there several times")
	f.StringSliceVar(&s.forwarders, "forwarders", nil, "networks of DNS servers that ask on behalf of others, such as 127.0.0.1 or 10.0.0.0/8: strangers, unless they tell the client's subnet (RFC 7871)")
	f.StringSliceVar(&s.namespaces, "namespaces", nil, "namespaces with short names though the world knows them too, such as shop or dev; can be there several times")
	f.StringSliceVar(&s.recursion, "allow-recursion", []string{recursion.LocalNets}, "for whom names outside of the rack are looked up: \""+recursion.LocalNets+"\" (this host's networks and Docker's), networks, \""+recursion.Any+"\" or \""+recursion.None+"\"; can be there several times")
	s.etcd.add(f)
	f.DurationVar(&s.preserve, "preserve", index.DefaultPreserve, "how long instances stay that the registry has lost all at once; 0 is not at all")
	f.StringVar(&s.data, "data", "", "directory for the registry's data (default "+defaultData()+")")
	s.node.add(f, "address of the Docker Engine, or \""+dockerOff+"\" (default as for the docker command)")
	s.http.addHTTP(f)
	return cmd
}

// defaultData is where the registry's data are unless told otherwise.
func defaultData() string { return registry.DefaultDataDir() }

// agentConfig checks all flags.
func (s *standalone) agentConfig(ctx context.Context) (agent.Config, error) {
	if err := registry.CheckLabel("--rack", s.rack); err != nil {
		return agent.Config{}, usageError{err}
	}
	if err := checkSuffix(s.suffix); err != nil {
		return agent.Config{}, err
	}
	if len(s.dns) == 0 {
		return agent.Config{}, usagef("--dns: is empty")
	}
	var listen []string
	for _, given := range s.dns {
		all, err := listenAddresses(ctx, "dns", given)
		if err != nil {
			return agent.Config{}, err
		}
		for _, at := range all {
			if !slices.Contains(listen, at) {
				listen = append(listen, at)
			}
		}
	}
	s.dns = listen
	if err := s.checkNamespaces(); err != nil {
		return agent.Config{}, err
	}
	if err := s.checkForwarders(); err != nil {
		return agent.Config{}, err
	}
	if err := recursion.CheckClients(s.recursion); err != nil {
		return agent.Config{}, usagef("--allow-recursion: %w", err)
	}
	if s.data == "" {
		s.data = defaultData()
	}
	if s.preserve < 0 {
		return agent.Config{}, usagef("--preserve %s: want a duration, or 0", s.preserve)
	}
	flags := s.node
	if flags.docker == dockerOff {
		flags.docker = ""
	}
	return flags.config()
}

func (s *standalone) run(ctx context.Context) (err error) {
	cfg, err := s.agentConfig(ctx)
	if err != nil {
		return err
	}
	listen, err := s.etcd.config(ctx, s.data)
	if err != nil {
		return err
	}
	s.log = setUpLog()
	serving()
	cfg.Logger, cfg.Alone = s.log, true
	if err := checkPortsFree(s.dns); err != nil {
		return err
	}
	s.http.tokens.data = s.data
	s.told = &httpapi.Rack{Name: s.rack, Zone: s.zone(), Node: cfg.Node}
	if s.node.docker != dockerOff {
		s.http.promote = s.promote
	}
	endHTTP, err := s.http.serve([]*httpapi.Rack{s.told}, func() string {
		if s.answers.Load() {
			return ""
		}
		return "the DNS server"
	}, s.log)
	if err != nil {
		return err
	}
	defer endHTTP()
	etcd, err := startRegistry(ctx, listen, s.hasPicture(), s.log)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	return s.runWith(ctx, etcd, cfg, foundByItself(listen, s.data))
}

// stateDir is where DNS keeps its last picture of the rack.
func (s *standalone) stateDir() string { return filepath.Join(s.data, "state") }

// hasPicture says whether DNS can answer without a registry.
func (s *standalone) hasPicture() bool {
	found, err := filepath.Glob(filepath.Join(s.stateDir(), "*"+index.PictureSuffix))
	return err == nil && len(found) > 0
}

// runWith runs the agent and the DNS server over a registry that is there, or
// will be. found says that commands find it without being told.
func (s *standalone) runWith(ctx context.Context, etcd *embedded.Registry, cfg agent.Config, found bool) (err error) {
	client, err := registry.Open(s.etcd.client(etcd.Endpoint(), s.rack))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	failed := make(chan error, 1)
	state := "off"
	if s.node.docker != dockerOff {
		cfg.Registry = client
		a, wait, err := startAgent(ctx, cfg, failed)
		if err != nil {
			return err
		}
		// The agent ends before the registry that it writes to.
		defer func() { cancel(); wait() }()
		if state, err = s.awaitAgent(ctx, a, failed); err != nil {
			return err
		}
	}
	s.alone, s.unchanged = lasting.New(s.log), lasting.New(s.log)
	s.upstreams, err = s.findUpstreams()
	s.noteUpstreams(err)
	corefile := func() string { return s.corefile(etcd.Endpoint(), cfg.Node) }
	server, err := s.startDNS(corefile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	giveBack, err := s.tell(etcd.Endpoint(), cfg.Node, client)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, giveBack()) }()
	own := s.etcd.client(etcd.Endpoint(), s.rack)
	s.registry.Store(&own)
	s.answers.Store(true)
	s.banner(etcd.Endpoint(), cfg.Node, state, found)
	var following sync.WaitGroup
	following.Go(func() { s.followUpstreams(ctx, server, corefile) })
	defer func() { cancel(); following.Wait() }()

	select {
	case <-ctx.Done():
		s.log.Info("stopping")
		return nil
	case err := <-failed:
		return err
	}
}

// promote has an app of this host run with its present environment.
func (s *standalone) promote(ctx context.Context, _, app string) error {
	own := s.registry.Load()
	if own == nil {
		return errors.New("the registry isn't there yet")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	docker := s.node.docker
	return deploy.Promote(ctx, deploy.UpConfig{
		Config: deploy.Config{Registry: *own, Docker: docker, App: app, Named: true, Out: logLines{s.log.With("app", app)}},
		Suffix: cleanSuffix(s.suffix), Timeout: deploy.DefaultTimeout, Trial: deploy.DefaultTrial, Program: program,
		Ask: func(string) (string, bool) { return "", false },
	})
}

// logLines logs what is written, a line each.
type logLines struct{ log *slog.Logger }

func (l logLines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(line); line != "" {
			l.log.Info(line)
		}
	}
	return len(p), nil
}

// startAgent starts an agent; wait returns when it has ended.
func startAgent(ctx context.Context, cfg agent.Config, failed chan<- error) (a *agent.Agent, wait func(), err error) {
	if a, err = agent.New(cfg); err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			failed <- fmt.Errorf("agent: %w", err)
		}
	}()
	return a, func() { <-done }, nil
}

// awaitAgent gives the agent time for its first list, and returns Docker's
// state in words.
func (s *standalone) awaitAgent(ctx context.Context, a *agent.Agent, failed <-chan error) (string, error) {
	timeout := time.NewTimer(firstList)
	defer timeout.Stop()
	select {
	case <-a.Ready():
		return "watching, containers are published at " + a.HostAddress().String(), nil
	case <-a.Waiting():
		return "not there yet; still trying", nil
	case <-timeout.C:
		return "slow to answer; still trying", nil
	case err := <-failed:
		return "", err
	case <-ctx.Done():
		return "", nil
	}
}

func (s *standalone) banner(etcd, node, docker string, found bool) {
	zone := s.zone()
	at, port := splitListen(s.dns[0])
	switch at {
	case "0.0.0.0":
		at = "127.0.0.1"
	case "::":
		at = "::1"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rackdns %s\n", version)
	fmt.Fprintf(&b, "  zone      %s (names are <service>.<app>.%s)\n", zone, zone)
	fmt.Fprintf(&b, "  dns       %s\n", strings.Join(s.dns, ", "))
	fmt.Fprintf(&b, "  forwards  %s\n", s.forwards())
	fmt.Fprintf(&b, "  registry  %s, data in %s\n", etcd, s.data)
	if !found {
		fmt.Fprintf(&b, "  commands  export RACKDNS_ETCD=%s\n", etcd)
	}
	if s.etcd.certFile != "" {
		fmt.Fprintf(&b, "  and       https://%s, for other hosts\n", s.etcd.address)
	}
	fmt.Fprintf(&b, "  docker    %s, as node %s\n", docker, node)
	if s.http.address != "" {
		fmt.Fprintf(&b, "  http      %s, with the token in %s\n", s.http.url(), s.http.tokens.path())
		fmt.Fprintf(&b, "  metrics   %s/metrics\n", s.http.url())
	}
	fmt.Fprintf(&b, "  try       dig @%s -p %s SRV <container>.default.%s\n", at, port, zone)
	fmt.Print(b.String())
}

// tell has HTTP tell of the rack, from the index that DNS answers from.
func (s *standalone) tell(etcd, node string, client *registry.Client) (giveBack func() error, err error) {
	// The same as the Corefile says, or there would be two of them.
	cfg := index.Config{
		Registry: s.etcd.client(etcd, s.rack), Options: index.Options{Node: node},
		Preserve: s.preserve, State: s.absState(), Logger: s.log,
	}
	if s.preserve == 0 {
		cfg.Preserve = -1
	}
	if len(s.forwarders) > 0 {
		if cfg.Options.Forwarders, err = rack.ParseForwarders(s.forwarders); err != nil {
			return nil, err
		}
	}
	x, giveBack, err := index.Acquire(cfg)
	if err != nil {
		return nil, err
	}
	s.told.Follow(x, client)
	return giveBack, nil
}

func (s *standalone) zone() string {
	return s.rack + "." + cleanSuffix(s.suffix)
}
