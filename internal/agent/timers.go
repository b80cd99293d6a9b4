package agent

import (
	"context"
	"time"

	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/timer"
)

// runTimers runs the timers whose containers are on the engine, until ctx ends.
func (a *Agent) runTimers(ctx context.Context) {
	timer.New(timer.Config{
		Rack: a.cfg.Rack, Logger: a.log,
		Dial: func() (*client.Client, error) { return dockerclient.Dial(a.cfg.DockerHost) },
		Claim: func(ctx context.Context, app, name string, at time.Time) (bool, error) {
			return a.cfg.Registry.ClaimRun(ctx, app, name, a.cfg.Node, at)
		},
	}).Run(ctx)
}
