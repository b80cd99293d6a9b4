package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/docker/docker/api/types/system"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Config says which rack is looked at, and from where.
type Config struct {
	Registry registry.Config
	// Options are those of the DNS server of this host, as far as they decide what
	// it answers; Node among them is this host.
	Options index.Options
	// Suffix is the domain that the rack's zone is in, such as "convox".
	Suffix string
	// Agent is what the agent of this host would be told.
	Agent agent.Config
	// NoEngine says that this host has no engine to look at.
	NoEngine bool
	// DNS are where DNS servers of this host listen, and HTTP where its processes
	// serve their metrics; if there are none they are looked for.
	DNS  []netip.AddrPort
	HTTP []string
	// ResolvConf says whom this host asks, DaemonConfig is the engine's
	// configuration; those of the system if empty.
	ResolvConf, DaemonConfig string
	// Networks are those of Docker's that are looked at; all if there are none.
	Networks []string
	// Version is ours.
	Version string
}

const (
	// firstPicture is how long a first picture of the registry may take.
	firstPicture = 5 * time.Second
	// enginePatience bounds a look at all of the engine's containers.
	enginePatience = 20 * time.Second
)

// scene is what the checks look at. What costs something is found out when the
// first of them asks.
type scene struct {
	cfg  Config
	zone string
	// registry is the client; reached says whether it can be read.
	registry *registry.Client
	reached  func() error
	index    *index.Index

	picture  func() (*index.Snapshot, error)
	members  func() ([]registry.Member, error)
	nodes    func() ([]registry.NodeState, error)
	contacts func() (map[string]registry.Contact, error)

	engine func() (system.Info, error)
	plan   func() (*agent.Draft, error)
	// sockets are those of UDP.
	sockets []socket
	servers func() []server
	metrics func() []*metrics
}

// errUnread is why what depends on the registry is skipped.
var errUnread = errors.New("the registry can't be read")

func newScene(ctx context.Context, cfg Config) (*scene, error) {
	client, err := registry.Open(cfg.Registry)
	if err != nil {
		return nil, err
	}
	x, err := index.Open(index.Config{Registry: cfg.Registry, Options: cfg.Options, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	x.Start()
	s := &scene{cfg: cfg, zone: cfg.Registry.Rack + "." + cfg.Suffix, registry: client, index: x}
	s.reached = sync.OnceValue(func() error {
		if err := client.CheckAccess(); err != nil {
			return err
		}
		return client.Check(ctx)
	})
	s.picture = sync.OnceValues(func() (*index.Snapshot, error) {
		if s.reached() != nil {
			return nil, errUnread
		}
		select {
		case <-x.Synced():
			return x.Snapshot(), nil
		case <-time.After(firstPicture):
			return nil, fmt.Errorf("a list of everything in the registry takes over %s", firstPicture)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	s.members = ifReached(s, func() ([]registry.Member, error) { return client.Members(ctx) })
	s.nodes = ifReached(s, func() ([]registry.NodeState, error) { return client.Nodes(ctx) })
	s.contacts = ifReached(s, func() (map[string]registry.Contact, error) { return client.Contacts(ctx) })
	s.engine = sync.OnceValues(func() (system.Info, error) { return engineOf(ctx, &s.cfg) })
	s.plan = sync.OnceValues(func() (*agent.Draft, error) { return planOf(ctx, &s.cfg) })
	s.sockets = listening("udp")
	s.servers = sync.OnceValue(func() []server { return s.findServers(ctx) })
	s.metrics = sync.OnceValue(func() []*metrics { return s.findMetrics(ctx) })
	return s, nil
}

// ifReached finds something out once, where the registry can be read.
func ifReached[T any](s *scene, find func() (T, error)) func() (T, error) {
	return sync.OnceValues(func() (is T, err error) {
		if s.reached() != nil {
			return is, errUnread
		}
		return find()
	})
}

func (s *scene) close() {
	_ = s.index.Close()
	_ = s.registry.Close()
}

// rack is the rack's name.
func (s *scene) rack() string { return s.cfg.Registry.Rack }

// here is this host's name in the rack.
func (s *scene) here() string { return s.cfg.Options.Node }
