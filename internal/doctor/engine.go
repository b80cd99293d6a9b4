package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/system"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/index"
)

// errNoEngine is why what needs an engine is skipped.
var errNoEngine = errors.New("this host has no engine (--docker off)")

// engineOf asks the engine who it is.
func engineOf(ctx context.Context, cfg *Config) (system.Info, error) {
	if cfg.NoEngine {
		return system.Info{}, errNoEngine
	}
	c, err := dockerclient.Dial(cfg.Agent.DockerHost)
	if err != nil {
		return system.Info{}, err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	if err := dockerclient.CheckEngine(ctx, c); err != nil {
		return system.Info{}, err
	}
	return c.Info(ctx)
}

// planOf is what an agent of this host would register now.
func planOf(ctx context.Context, cfg *Config) (*agent.Draft, error) {
	if cfg.NoEngine {
		return nil, errNoEngine
	}
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	return agent.Plan(ctx, cfg.Agent)
}

func checkEngine(_ context.Context, s *scene) []Result {
	info, err := s.engine()
	switch {
	case errors.Is(err, errNoEngine):
		return skipped("%s", err)
	case errors.Is(err, dockerclient.ErrPodman):
		return []Result{failed("use Docker Engine, or register hosts by rackdns register", "%s", err)}
	case err != nil:
		return []Result{failed("start it, or say by --docker or DOCKER_HOST where it is; --docker off if this host has none", "the Docker Engine: %s", err)}
	}
	if snapshot, err := s.picture(); err == nil {
		if n := snapshot.Nodes()[s.here()]; n != nil && n.Engine != "" && n.Engine != info.ID {
			return []Result{failed("give this host another name by --node, here and for its agent, which is refused as it is",
				"this host's engine is %s, and node %s of the registry is another one, %s", info.ID, s.here(), n.Engine)}
		}
	}
	return passed("Docker Engine %s, with %s running", info.ServerVersion, several(info.ContainersRunning, "container"))
}

func checkContainers(_ context.Context, s *scene) []Result {
	plan, err := s.plan()
	if err != nil {
		return skipped("containers of this host: %s", err)
	}
	var found []Result
	meant := map[string]int{}
	for _, r := range plan.LeftOut {
		if r.Reason.Meant() {
			meant[string(r.Reason)]++
			continue
		}
		found = append(found, warned("rackdns explain "+r.ID+" says what decided it", "container %s (%s) is left out (%s): %s", r.Container, r.ID, r.Reason, r.Detail))
	}
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(meant)) {
		words = append(words, fmt.Sprintf("%d %s", meant[reason], reason))
	}
	more := ""
	if len(words) > 0 {
		more = "; left out as somebody wants it: " + strings.Join(words, ", ")
	}
	return orPassed(found, "%s to register%s", several(len(plan.Instances), "container"), more)
}

func checkLabels(_ context.Context, s *scene) []Result {
	plan, err := s.plan()
	if err != nil {
		return skipped("labels of this host's containers: %s", err)
	}
	var found []Result
	for _, r := range plan.Remarks {
		found = append(found, warned("rackdns explain "+r.ID+" says what counts in its place", "container %s (%s): %s", r.Container, r.ID, r.What))
	}
	return orPassed(found, "all count")
}

func checkFolded(_ context.Context, s *scene) []Result {
	plan, err := s.plan()
	if err != nil {
		return skipped("names of this host's containers: %s", err)
	}
	var found []Result
	for _, f := range plan.Folded {
		found = append(found, warned("rename one of them, or label it rackdns.service", "%s become one, service %s of app %s", strings.Join(f.Given, " and "), f.Service, f.App))
	}
	return orPassed(found, "none are made one")
}

// agentPatience is how long an agent may take for what has just changed.
const agentPatience = 3 * time.Second

// checkRegistered compares what runs here with what is registered.
func checkRegistered(ctx context.Context, s *scene) []Result {
	plan, err := s.plan()
	if err != nil {
		return skipped("whether this host's containers are registered: %s", err)
	}
	snapshot, err := s.picture()
	if err != nil {
		return skipped("whether this host's containers are registered: %s", err)
	}
	if snapshot.Nodes()[s.here()] == nil {
		return skipped("whether this host's containers are registered: %s has no agent", s.here())
	}
	for until := time.Now().Add(agentPatience); ; {
		found := s.unregistered(plan)
		if len(found) == 0 || time.Now().After(until) {
			return orPassed(found, "all of them")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		// Containers come and go while we look.
		if again, err := planOf(ctx, &s.cfg); err == nil {
			plan = again
		}
	}
}

func (s *scene) unregistered(plan *agent.Draft) []Result {
	have := registeredOn(s.index.Snapshot(), s.here())
	var found []Result
	const next = "see the agent's log; was it started with other --image-labels or --only-labelled than this command?"
	for _, i := range plan.Instances {
		if !have[i.ID] {
			found = append(found, failed(next, "container %s should be registered as %s.%s, and isn't", i.ID, i.Service, i.App))
		}
		delete(have, i.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		found = append(found, failed(next, "container %s is registered, and doesn't run here, or is to be left out", id))
	}
	return found
}

// registeredOn are the IDs of a node's instances that may be told.
func registeredOn(s *index.Snapshot, node string) map[string]bool {
	all := map[string]bool{}
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				if i.Node() == node {
					all[i.ID()] = true
				}
			}
		}
	}
	return all
}
