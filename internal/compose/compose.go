// Package compose reads Compose files, to say what their services' names are and
// who reaches them. It deploys nothing: Docker's own `docker compose up` does.
package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v4"
)

// Names are those of Compose files, in the order in which Docker looks for them.
var Names = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// Find returns the Compose file of a directory, "" if there is none.
func Find(dir string) string {
	for _, name := range Names {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file
		}
	}
	return ""
}

// form is that of names of Compose files, those of one environment included.
var form = regexp.MustCompile(`^(docker-)?compose(\..*)?\.ya?ml$`)

// Is reports whether a file is one of Compose's: by its name, or by keys at its
// top that only such files have. What can't be read is none.
func Is(file string) bool {
	if form.MatchString(filepath.Base(file)) {
		return true
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var top map[string]yaml.Node
	if yaml.Unmarshal(text, &top) != nil {
		return false
	}
	version, hasVersion := top["version"]
	_, hasNetworks := top["networks"]
	_, hasServices := top["services"]
	return hasServices && (hasNetworks || hasVersion && version.Kind == yaml.ScalarNode)
}

// Project is what a Compose file says.
type Project struct {
	file string
	*types.Project
}

// Load reads a Compose file, with the .env beside it, as docker compose does.
// Services of all profiles are in it.
func Load(ctx context.Context, file string) (*Project, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	// The library warns of variables that are not set, which is for those who
	// deploy.
	logrus.SetOutput(io.Discard)
	defer logrus.SetOutput(os.Stderr)
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)),
		cli.WithOsEnv, cli.WithDotEnv, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, oneLine(file, err)
	}
	p, err := options.LoadProject(ctx)
	if err != nil {
		return nil, oneLine(file, err)
	}
	return &Project{file: file, Project: p}, nil
}

// oneLine says what is wrong with a file in one line that names it once.
func oneLine(file string, err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if strings.Contains(text, filepath.Base(file)) {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %s", file, text)
}

// service returns one of the services, by its name as it is written or as DNS has
// it.
func (p *Project) service(name string) (types.ServiceConfig, error) {
	for _, s := range p.sorted() {
		if s.Name == name || Fold(s.Name) == name {
			return s, nil
		}
	}
	var known []string
	for _, s := range p.sorted() {
		known = append(known, s.Name)
	}
	return types.ServiceConfig{}, fmt.Errorf("%s has no service %q; there are: %s", p.file, name, strings.Join(known, ", "))
}

// sorted returns the services by name.
func (p *Project) sorted() []types.ServiceConfig {
	all := make([]types.ServiceConfig, 0, len(p.Services))
	for _, s := range p.Services {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b types.ServiceConfig) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Fold makes of a name what it is in DNS.
func Fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "-")) }
