package dockerclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types"
)

// ErrPodman is returned for an engine that isn't Docker's. Podman answers at the same
// API, but it isn't what an agent can rely on: its events tell of no kill and no end
// by the names that Docker has for them, it has another ID each time it is asked, and
// its containers' processes are in other cgroups. Names would outlive their
// containers, which is worse than to have none.
var ErrPodman = errors.New("the engine is Podman, which isn't supported: its events and its ID are not what Docker's API promises, " +
	"so that names would outlive their containers; use Docker Engine, or register hosts with rackdns register")

// Versioner is what tells which engine it is.
type Versioner interface {
	ServerVersion(ctx context.Context) (types.Version, error)
}

// CheckEngine returns [ErrPodman] for Podman, another error if the engine doesn't say
// what it is.
func CheckEngine(ctx context.Context, e Versioner) error {
	v, err := e.ServerVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask the engine which one it is: %w", err)
	}
	for _, c := range v.Components {
		if strings.HasPrefix(strings.ToLower(c.Name), "podman") {
			return ErrPodman
		}
	}
	return nil
}
