package dockerclient

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/client"
)

// defaultContext is the name of the docker command's context that is no stored
// one: the environment's variables and Docker's own default count.
const defaultContext = "default"

// Endpoint is where an engine is, and who said so.
type Endpoint struct {
	// Host is its address, such as unix:///var/run/docker.sock.
	Host string
	// Source is who said so, for messages: a flag, a variable or a context;
	// empty if nobody did.
	Source string
	// context is the stored context that has the rest, empty if none.
	context string
}

// Find returns the engine at host, or if that is empty the one that the docker
// command would talk to: that of DOCKER_HOST, of the context in DOCKER_CONTEXT,
// or of the present context (docker context use), in that order.
func Find(host string) (Endpoint, error) {
	e := Endpoint{Host: host, Source: "--docker"}
	if host == "" {
		var err error
		if e, err = find(); err != nil {
			return e, err
		}
	}
	if strings.HasPrefix(e.Host, "ssh://") {
		return e, fmt.Errorf("the Docker Engine at %s: an engine over SSH is not supported: run rackdns on its host, or forward its socket (ssh -L /tmp/engine.sock:/var/run/docker.sock HOST) and say --docker unix:///tmp/engine.sock and --host-address", e)
	}
	if _, err := client.ParseHostURL(e.Host); err != nil {
		return e, fmt.Errorf("the Docker Engine at %s: %w", e, err)
	}
	return e, nil
}

func find() (Endpoint, error) {
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		return Endpoint{Host: host, Source: client.EnvOverrideHost}, nil
	}
	name, source := os.Getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		file, err := config.Load(config.Dir())
		if err != nil {
			return Endpoint{}, fmt.Errorf("the docker command's configuration: %w", err)
		}
		name, source = file.CurrentContext, filepath.Join(config.Dir(), config.ConfigFileName)
	}
	if name == "" || name == defaultContext {
		return Endpoint{Host: client.DefaultDockerHost}, nil
	}
	e := Endpoint{Source: fmt.Sprintf("docker context %q of %s", name, source), context: name}
	stored, err := e.stored()
	if err != nil {
		return e, err
	}
	e.Host = cmp.Or(stored.Host, client.DefaultDockerHost)
	return e, nil
}

// stored reads the endpoint's context, its TLS material included, as it is now.
func (e Endpoint) stored() (dockercontext.Endpoint, error) {
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockercontext.DockerEndpoint, func() any { return &dockercontext.EndpointMeta{} }),
	))
	meta, err := contexts.GetMetadata(e.context)
	if errdefs.IsNotFound(err) {
		return dockercontext.Endpoint{}, fmt.Errorf("%s: there is no such context; docker context ls lists them", e.Source)
	}
	if err != nil {
		return dockercontext.Endpoint{}, fmt.Errorf("%s: %w", e.Source, err)
	}
	m, err := dockercontext.EndpointFromContext(meta)
	if err != nil {
		return dockercontext.Endpoint{}, fmt.Errorf("%s: %w", e.Source, err)
	}
	full, err := dockercontext.WithTLSData(contexts, e.context, m)
	if err != nil {
		return full, fmt.Errorf("%s: %w", e.Source, err)
	}
	return full, nil
}

// String says where the engine is, and who said so.
func (e Endpoint) String() string {
	if e.Source == "" {
		return e.Host
	}
	return fmt.Sprintf("%s (%s)", e.Host, e.Source)
}

// Command returns what a plugin of the docker command has to find in its
// environment to talk to this engine, and the name of the builder which that
// command would have it use there.
func (e Endpoint) Command() (environment []string, builder string) {
	if e.context != "" {
		return []string{client.EnvOverrideHost + "=", "DOCKER_CONTEXT=" + e.context}, e.context
	}
	return []string{client.EnvOverrideHost + "=" + e.Host, "DOCKER_CONTEXT="}, defaultContext
}

// Remote returns the host on which the engine is, an address or a name; empty if
// it is reached by a socket of this host.
func (e Endpoint) Remote() string {
	u, err := url.Parse(e.Host)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.Hostname()
}

// Dial returns a client for the engine. It makes no connection.
func (e Endpoint) Dial() (*client.Client, error) {
	opts := []client.Opt{client.WithTLSClientConfigFromEnv(), client.WithHost(e.Host), client.WithVersionFromEnv(), client.WithAPIVersionNegotiation()}
	if e.context != "" {
		stored, err := e.stored()
		if err != nil {
			return nil, err
		}
		if opts, err = stored.ClientOpts(); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Source, err)
		}
	}
	c, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("the Docker Engine at %s: %w", e, err)
	}
	return c, nil
}
