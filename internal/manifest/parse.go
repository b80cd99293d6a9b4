package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/near"
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
	m.Warnings, m.Ignored = r.warnings, r.ignored
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

func (r *reader) manifest(m *Manifest, root *yaml.Node) error {
	var labels map[string]string
	err := r.fields(root, "", "", reading{
		"services":  func(e entry, _ string) (err error) { m.Services, err = r.services(e.value); return },
		"resources": func(e entry, _ string) (err error) { m.Resources, err = r.resources(e.value); return },
		"timers":    func(e entry, _ string) (err error) { m.Timers, err = r.timers(e.value); return },
		"environment": func(e entry, at string) (err error) {
			m.Environment, m.Inherit, err = r.environment(e.value, at)
			return
		},
		"labels": func(e entry, at string) (err error) { labels, err = r.named(e.value, at); return },
	})
	if err != nil {
		return err
	}
	if len(m.Services) == 0 {
		return r.errorf(root.Line, "services", "there is none")
	}
	for n := range m.Services {
		m.Services[n].Labels = merged(labels, m.Services[n].Labels)
	}
	return nil
}

// merged returns the entries of both maps; where both have one, that of the
// second. It is nil if there are none.
func merged(first, second map[string]string) map[string]string {
	if len(first)+len(second) == 0 {
		return nil
	}
	m := maps.Clone(first)
	if m == nil {
		m = map[string]string{}
	}
	maps.Copy(m, second)
	return m
}

func (r *reader) services(n *yaml.Node) ([]Service, error) {
	return each(r, n, "services", func(e entry, path string) (Service, error) {
		s := Service{Name: e.key, Line: e.line, Count: 1}
		err := r.serviceName(e.line, path, e.key)
		if err == nil {
			err = r.service(&s, e.value, path)
		}
		return s, err
	})
}

// each reads what the entries of a map are; those whose keys begin with x- are
// none.
func each[T any](r *reader, n *yaml.Node, path string, read func(e entry, path string) (T, error)) ([]T, error) {
	entries, err := r.mapping(n, path)
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.key, "x-") {
			continue
		}
		one, err := read(e, below(path, e.key))
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (r *reader) resources(n *yaml.Node) ([]Resource, error) {
	return each(r, n, "resources", func(e entry, path string) (Resource, error) {
		res := Resource{Name: e.key, Line: e.line}
		err := r.name(e.line, path, "resource", e.key)
		if err == nil {
			err = r.resource(&res, e.value, path)
		}
		return res, err
	})
}

func (r *reader) resource(res *Resource, n *yaml.Node, path string) error {
	err := r.fields(n, path, "resources.*", reading{
		"type":    func(e entry, at string) (err error) { res.Type, err = r.resourceType(e.value, at); return },
		"options": func(e entry, at string) (err error) { res.Options, err = r.named(e.value, at); return },
	})
	if err == nil && res.Type == "" {
		err = r.errorf(res.Line, path, "has no type; want %s", oneOf(Types))
	}
	return err
}

// notTypes are types of resources elsewhere, and what to do instead.
var notTypes = map[string]string{
	"postgis":    "want type postgres with an image of PostGIS as the option image",
	"postgresql": "want postgres",
	"valkey":     "want type redis with an image of Valkey as the option image",
}

func (r *reader) resourceType(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err != nil || slices.Contains(Types, s) {
		return s, err
	}
	instead := "want " + oneOf(Types)
	for _, prefix := range []string{"rds-", "elasticache-"} {
		if plain, ok := strings.CutPrefix(s, prefix); ok && slices.Contains(Types, plain) {
			instead = "want " + plain + ", or give the URL of the one in the cloud in the app's environment"
		}
	}
	if meant := near.Name(s, Types); meant != "" {
		instead = "did you mean " + meant + "?"
	}
	if told := notTypes[s]; told != "" {
		instead = told
	}
	return "", r.errorf(n.Line, path, "%s is not a type of resource; %s", registry.Quote(s), instead)
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

// inheritAll is what stands in a list of variables for all of the app's.
const inheritAll = "*"

// environment reads variables, and whether all of the app's environment is among
// them.
func (r *reader) environment(n *yaml.Node, path string) (all []Variable, inherit bool, err error) {
	entries, err := r.pairs(n, path)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if e.key == inheritAll && isNull(e.value) {
			inherit = true
			continue
		}
		// A value may be a secret, and what isn't a name may be a part of one.
		if !IsVariable(e.key) {
			return nil, false, r.errorf(e.line, path, "not the name of an environment variable: only letters, digits and underscores, not beginning with a digit, make one")
		}
		v := Variable{Name: e.key, Set: !isNull(e.value), Line: e.line}
		if v.Set {
			v.Value = e.value.Value
		}
		if strings.Contains(v.Value, "\x00") {
			return nil, false, r.errorf(e.line, below(path, e.key), "holds a NUL, which no process can be given")
		}
		all = append(all, v)
	}
	return all, inherit, nil
}
