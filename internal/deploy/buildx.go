package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/manifest"
)

// buildxGrace is how long an interrupted build has to end by itself.
const buildxGrace = 5 * time.Second

// dockerCommand is what the library that finds plugins wants to know of the
// docker command.
type dockerCommand struct{ file *configfile.ConfigFile }

// ConfigFile implements config.Provider.
func (d dockerCommand) ConfigFile() *configfile.ConfigFile { return d.file }

// findBuildx returns the plugin that builds with BuildKit, found as the docker
// command finds it, "" if there is none or it isn't wanted (DOCKER_BUILDKIT=0).
func findBuildx() (path string, err error) {
	wanted := false
	if v := os.Getenv("DOCKER_BUILDKIT"); v != "" {
		if wanted, err = strconv.ParseBool(v); err != nil {
			return "", fmt.Errorf("DOCKER_BUILDKIT=%q: want 1 or 0", v)
		}
		if !wanted {
			return "", nil
		}
	}
	file, err := config.Load(config.Dir())
	if err != nil {
		return "", fmt.Errorf("the docker command's configuration: %w", err)
	}
	plugin, err := manager.GetPlugin("buildx", dockerCommand{file}, &cobra.Command{})
	if err == nil && plugin.Err != nil {
		err = fmt.Errorf("%s: %w", plugin.Path, plugin.Err)
	}
	switch {
	case err == nil:
		return plugin.Path, nil
	case wanted:
		return "", fmt.Errorf("DOCKER_BUILDKIT=1, and docker buildx can't be used: %w", err)
	case errdefs.IsNotFound(err):
		return "", nil
	}
	// As the docker command has it: it is said, and the other one builds.
	return "", &brokenPlugin{err}
}

// brokenPlugin is a plugin that is there and doesn't work.
type brokenPlugin struct{ error }

// buildx has BuildKit build an image, and returns its ID.
func (s *site) buildx(ctx context.Context, plugin, dir, repository string, b *manifest.Build, pull bool, log *buildLog) (id string, err error) {
	root := filepath.Join(dir, b.Path)
	// A name of its own until the ID is known: which one a builder prints depends
	// on the builder.
	name := repository + ":building-" + strings.ToLower(rand.Text()[:tagLength])
	args := []string{
		"buildx", "build", "--load", "--progress", "plain", "--tag", name, "--label", label.UpImage + "=" + repository,
		"--file", filepath.Join(root, b.Dockerfile),
	}
	if pull {
		args = append(args, "--pull")
	}
	if b.Target != "" {
		args = append(args, "--target", b.Target)
	}
	endpoint, err := dockerclient.Find(s.host)
	if err != nil {
		return "", err
	}
	engine, builder := endpoint.Command()
	environ := append(os.Environ(), engine...)
	// Who builds the same again gets the same image, not one with another date.
	environ = append(environ, metadata.ReexecEnvvar+"=docker", "BUILDX_NO_DEFAULT_ATTESTATIONS=1")
	if os.Getenv("BUILDX_BUILDER") == "" {
		environ = append(environ, "BUILDX_BUILDER="+builder)
	}
	for _, a := range slices.Sorted(maps.Keys(b.Args)) {
		// By its name alone it comes from the environment, where others don't see
		// its value; but for one that means something to the plugin itself.
		if _, used := os.LookupEnv(a); used || strings.HasPrefix(a, "DOCKER_") || strings.HasPrefix(a, "BUILD") {
			args = append(args, "--build-arg", a+"="+b.Args[a])
			continue
		}
		environ = append(environ, a+"="+b.Args[a])
		args = append(args, "--build-arg", a)
	}
	defer func() {
		ctx, cancel := dockerclient.Whole(ctx)
		defer cancel()
		if _, e := s.ImageRemove(ctx, name, image.RemoveOptions{}); err == nil && e != nil && !errdefs.IsNotFound(e) {
			err = e
		}
	}()
	cmd := exec.CommandContext(ctx, plugin, append(args, root)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = buildxGrace
	err = cmd.Run()
	said := log.end()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", &buildError{why: buildxReason(said, exit), said: said}
	}
	if err != nil {
		return "", fmt.Errorf("docker buildx: %w", err)
	}
	if id, err = s.imageID(ctx, name); err != nil {
		return "", fmt.Errorf("docker buildx has built it, and it is not on this engine: %w", err)
	}
	return id, s.ImageTag(ctx, id, builtName(repository, id))
}

// buildxReason is the last thing that it called an error.
func buildxReason(said string, exit error) string {
	why := ""
	for l := range strings.Lines(said) {
		if reason, ok := strings.CutPrefix(l, "ERROR: "); ok {
			why = strings.TrimPrefix(reason, "failed to build: ")
		}
	}
	if why == "" {
		return "docker buildx: " + exit.Error()
	}
	return why
}
