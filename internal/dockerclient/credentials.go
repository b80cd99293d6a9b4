package dockerclient

import (
	"cmp"
	"fmt"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker/api/types/registry"
)

// hub is what Docker's configuration calls the registry of images without one.
const hub = "https://index.docker.io/v1/"

// authOf returns what the docker command's configuration, or a helper that it
// names, has for the registry of an image, encoded as the engine wants it; empty
// if nothing.
func authOf(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", nil // by its ID, or the engine will say what is wrong
	}
	host := reference.Domain(named)
	if host == "docker.io" {
		host = hub
	}
	file, err := config.Load(config.Dir())
	if err != nil {
		return "", fmt.Errorf("the docker command's configuration: %w", err)
	}
	found, err := file.GetAuthConfig(host)
	if err != nil {
		return "", fmt.Errorf("the credentials for %s of the docker command: %w", host, err)
	}
	if found == (types.AuthConfig{}) {
		return "", nil
	}
	return registry.EncodeAuthConfig(engineAuth(found))
}

// Credentials returns those of all registries that the docker command has any
// for: a builder pulls what its Dockerfile names.
func Credentials() (map[string]registry.AuthConfig, error) {
	file, err := config.Load(config.Dir())
	if err != nil {
		return nil, fmt.Errorf("the docker command's configuration: %w", err)
	}
	found, err := file.GetAllCredentials()
	if err != nil {
		return nil, fmt.Errorf("the credentials of the docker command: %w", err)
	}
	all := map[string]registry.AuthConfig{}
	for host, auth := range found {
		auth.ServerAddress = cmp.Or(auth.ServerAddress, host)
		all[host] = engineAuth(auth)
	}
	return all, nil
}

// engineAuth has the engine's name for what the command calls otherwise.
func engineAuth(a types.AuthConfig) registry.AuthConfig {
	return registry.AuthConfig{
		Username: a.Username, Password: a.Password, Auth: a.Auth,
		ServerAddress: a.ServerAddress, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
	}
}
