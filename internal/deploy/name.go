package deploy

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/registry"
)

// AppOf returns the app that a manifest in the directory dir is of, unless it is
// said otherwise: the directory's name made a label.
func AppOf(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	app := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(abs)))
	app = strings.Trim(app, "-")
	if err := registry.CheckApp("app", app); err != nil {
		return "", fmt.Errorf("directory %s: its name makes no name of an app: %w", registry.Quote(filepath.Base(abs)), err)
	}
	return app, nil
}

func networkName(rack string) string { return dockerclient.RackNetwork(rack) }

// volumeName is made of labels, which have no dots: no two resources of an
// engine can have the same.
func volumeName(rack, app, resource string) string {
	return rack + "." + app + "." + resource
}

// containerName is the name of an instance, from release to release: what people
// remember (docker logs shop-web-1).
func containerName(app, component string, number int) string {
	return app + "-" + component + "-" + strconv.Itoa(number)
}

// interimName is the name of an instance for as long as the one before it has its
// own: an engine has each name once.
func interimName(app, component, release string, number int) string {
	return app + "-" + component + "-" + strings.ToLower(release) + "-" + strconv.Itoa(number)
}

// imageRepository has a dot where names have none: app a-b with service c is not
// app a with service b-c.
func imageRepository(rack, app, service string) string {
	return "rackdns-" + rack + "/" + app + "." + service
}

// resourceService is the service that a resource's container is an instance of.
func resourceService(kind, name string) string { return kind + "-" + name }

// idLength is the length of a container's ID in names.
const idLength = 12

func shortID(id string) string { return id[:min(len(id), idLength)] }
