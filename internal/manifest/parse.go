package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Read reads a convox.yml.
func Read(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads a convox.yml that is in memory; file is what errors and warnings
// call it. Each of them is one line that names file, line and key.
func Parse(file string, data []byte) (*Manifest, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	r := &reader{file: file}
	root, err := r.document(data)
	if err != nil {
		return nil, err
	}
	m := &Manifest{File: file, Source: data}
	if err := r.manifest(m, root); err != nil {
		return nil, err
	}
	if err := r.check(m); err != nil {
		return nil, err
	}
	m.Warnings = r.warnings
	return m, nil
}

// document returns the root of the only document.
func (r *reader) document(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && (len(doc.Content) == 0 || isNull(doc.Content[0])) {
		return nil, fmt.Errorf("%s: is empty", r.file)
	}
	if err != nil {
		return nil, r.syntax(err)
	}
	switch err := d.Decode(&more); {
	case err == nil:
		return nil, r.errorf(more.Line, "", "a second document; want only one")
	case !errors.Is(err, io.EOF):
		return nil, r.syntax(err)
	}
	root := doc.Content[0]
	if err := r.untagged(root); err != nil {
		return nil, err
	}
	return root, r.bounded(root)
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// yamlAlias is the one message that repeats what is in the file: a password
	// that begins with an asterisk is an alias to YAML.
	yamlAlias = regexp.MustCompile(`unknown anchor '.*' referenced`)
)

// syntax puts an error of the YAML library into the form of ours.
func (r *reader) syntax(err error) error {
	message := strings.Join(strings.Fields(err.Error()), " ")
	message = yamlAlias.ReplaceAllString(message, "an alias of nothing; put a value that begins with * in quotes")
	m := yamlLine.FindStringSubmatch(message)
	if m == nil {
		return fmt.Errorf("%s: %s", r.file, message)
	}
	message = message[len(m[0]):]
	if line, err := strconv.Atoi(m[1]); err == nil {
		return r.errorf(line, "", "%s", message)
	}
	return fmt.Errorf("%s: %s", r.file, message)
}

// Keys that other racks give a meaning to, and this one doesn't.
var (
	topWithout     = []string{"appSettings", "balancers", "labels", "params", "timers", "version", "networks", "volumes"}
	serviceWithout = []string{
		"accessControlAllowOrigin", "agent", "annotations", "certificate", "cpu", "deployment", "dnsConfig", "domain", "domains",
		"drain", "grpcHealthEnabled", "idleTimeout", "ingressAnnotations", "init", "initContainer", "internalRouter", "lifecycle",
		"liveness", "memory", "nlb", "nodeSelectorLabels", "policies", "privileged", "singleton", "startupProbe", "sticky",
		"termination", "test", "timeout", "timers", "tls", "tty", "volumeOptions", "volumes", "whitelist",
	}
	scaleWithout = []string{"cooldown", "cpu", "gpu", "limit", "memory", "targets", "keda", "vpa"}
)

// other warns of a key that is not read.
func (r *reader) other(e entry, path string, without []string) {
	if slices.Contains(without, e.key) {
		r.warnf(e.line, below(path, e.key), "has no meaning here")
		return
	}
	r.warnf(e.line, below(path, e.key), "is not a key that is known")
}

func (r *reader) manifest(m *Manifest, root *yaml.Node) error {
	keys, err := r.mapping(root, "")
	if err != nil {
		return err
	}
	for _, e := range keys {
		switch e.key {
		case "services":
			m.Services, err = r.services(e.value)
		case "resources":
			m.Resources, err = r.resources(e.value)
		case "environment":
			m.Environment, err = r.environment(e.value, e.key)
		default:
			r.other(e, "", topWithout)
		}
		if err != nil {
			return err
		}
	}
	if len(m.Services) == 0 {
		return r.errorf(root.Line, "services", "there is none")
	}
	return nil
}

func (r *reader) services(n *yaml.Node) ([]Service, error) {
	keys, err := r.mapping(n, "services")
	if err != nil {
		return nil, err
	}
	all := make([]Service, 0, len(keys))
	for _, e := range keys {
		path := below("services", e.key)
		if err := r.serviceName(e.line, path, e.key); err != nil {
			return nil, err
		}
		s := Service{Name: e.key, Line: e.line, Count: 1}
		if err := r.service(&s, e.value, path); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (r *reader) resources(n *yaml.Node) ([]Resource, error) {
	keys, err := r.mapping(n, "resources")
	if err != nil {
		return nil, err
	}
	all := make([]Resource, 0, len(keys))
	for _, e := range keys {
		path := below("resources", e.key)
		if err := r.name(e.line, path, "resource", e.key); err != nil {
			return nil, err
		}
		res := Resource{Name: e.key, Line: e.line}
		if err := r.resource(&res, e.value, path); err != nil {
			return nil, err
		}
		all = append(all, res)
	}
	return all, nil
}

func (r *reader) resource(res *Resource, n *yaml.Node, path string) error {
	keys, err := r.mapping(n, path)
	if err != nil {
		return err
	}
	for _, e := range keys {
		at := below(path, e.key)
		switch e.key {
		case "type":
			if res.Type, err = r.text(e.value, at); err == nil && !slices.Contains(Types, res.Type) {
				err = r.errorf(e.value.Line, at, "%s is not a type of resource; want %s", registry.Quote(res.Type), oneOf(Types))
			}
		case "options":
			res.Options, err = r.named(e.value, at)
		default:
			r.other(e, path, nil)
		}
		if err != nil {
			return err
		}
	}
	if res.Type == "" {
		return r.errorf(res.Line, path, "has no type; want %s", oneOf(Types))
	}
	return nil
}

func oneOf(all []string) string {
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// named is pairs where each has to have a value.
func (r *reader) named(n *yaml.Node, path string) (map[string]string, error) {
	all, err := r.pairs(n, path)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	m := map[string]string{}
	for _, e := range all {
		if isNull(e.value) {
			return nil, r.errorf(e.line, belowPair(path, e.key), "has no value")
		}
		if e.key == "" {
			return nil, r.errorf(e.line, path, "a value without a name")
		}
		m[e.key] = e.value.Value
	}
	return m, nil
}

func (r *reader) environment(n *yaml.Node, path string) ([]Variable, error) {
	pairs, err := r.pairs(n, path)
	if err != nil {
		return nil, err
	}
	var all []Variable
	for _, e := range pairs {
		if e.key == "*" {
			return nil, r.errorf(e.line, path, "* would hand out every variable of the app; list those that are needed")
		}
		// A value may be a secret, and what isn't a name may be a part of one.
		if !IsVariable(e.key) {
			return nil, r.errorf(e.line, path, "not the name of an environment variable: only letters, digits and underscores, not beginning with a digit, make one")
		}
		v := Variable{Name: e.key, Set: !isNull(e.value), Line: e.line}
		if v.Set {
			v.Value = e.value.Value
		}
		if strings.Contains(v.Value, "\x00") {
			return nil, r.errorf(e.line, below(path, e.key), "holds a NUL, which no process can be given")
		}
		all = append(all, v)
	}
	return all, nil
}
