package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/near"
	"github.com/rackdns/rackdns/internal/registry"
)

// maxNodes is how many nodes a file may have once each alias stands for what
// it points to: far more than anybody writes, far fewer than a bomb has.
const maxNodes = 100_000

// reader reads one file. Its methods return errors that name file, line and
// key.
type reader struct {
	file     string
	warnings []string
	ignored  []IgnoredKey
	// links are all that services link to; what they lead to is known at the
	// end only.
	links []linkAt
}

// linkAt is where the file says that a service links to another.
type linkAt struct {
	service, target string
	line            int
}

// entry is a key of a mapping. Its value is never an alias.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// errorf is an error in a line of the file. The path says at which key, and may
// be empty.
func (r *reader) errorf(line int, path, format string, args ...any) error {
	return fmt.Errorf("%s", r.at(line, path, fmt.Sprintf(format, args...)))
}

func (r *reader) warnf(line int, path, format string, args ...any) {
	r.warnings = append(r.warnings, r.at(line, path, fmt.Sprintf(format, args...)))
}

func (r *reader) at(line int, path, message string) string {
	if path != "" {
		message = path + ": " + message
	}
	return fmt.Sprintf("%s:%d: %s", r.file, line, message)
}

// isPlain reports whether a key reads as the name that it is.
func isPlain(key string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./<"
	return key != "" && strings.Trim(key, letters) == "" && len(key) <= registry.MaxLabel
}

// belowPair is below for a key of pairs: what doesn't look like a name may be a
// part of a value, and that a secret.
func belowPair(path, key string) string {
	if !isPlain(key) {
		return path
	}
	return below(path, key)
}

// below is the path of a key of a mapping.
func below(path, key string) string {
	if !isPlain(key) {
		key = registry.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// coreTags say what a value is anyhow.
var coreTags = []string{"", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq", "!!merge"}

// untagged returns an error if a value has a tag of its own. Most likely that
// is a word, or a password, that begins with an exclamation mark.
func (r *reader) untagged(n *yaml.Node) error {
	if !slices.Contains(coreTags, n.ShortTag()) {
		return r.errorf(n.Line, "", "a tag, which has no meaning here; put a value that begins with ! in quotes")
	}
	for _, c := range n.Content {
		if err := r.untagged(c); err != nil {
			return err
		}
	}
	return nil
}

// bounded returns an error if a file is larger than it looks: aliases make a
// few lines stand for as many nodes as one likes, or for themselves.
func (r *reader) bounded(n *yaml.Node) error {
	sizes := map[*yaml.Node]int{}
	const underWay = -1
	var size func(n *yaml.Node) (int, error)
	size = func(n *yaml.Node) (int, error) {
		if n.Kind == yaml.AliasNode {
			if sizes[n.Alias] == underWay {
				return 0, r.errorf(n.Line, "", "alias *%s: stands for something that holds itself", n.Value)
			}
			return size(n.Alias)
		}
		if s, ok := sizes[n]; ok {
			return s, nil
		}
		sizes[n] = underWay
		sum := 1
		for _, c := range n.Content {
			s, err := size(c)
			if err != nil {
				return 0, err
			}
			if sum += s; sum > maxNodes {
				return 0, r.errorf(c.Line, "", "too large: more than %d values, with what aliases stand for", maxNodes)
			}
		}
		sizes[n] = sum
		return sum, nil
	}
	_, err := size(n)
	return err
}

// resolve returns what a node stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// kind names a node's kind for people.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return "a single value"
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// mapping returns the entries of a map, those that it merges last. A null is an
// empty map.
func (r *reader) mapping(n *yaml.Node, path string) ([]entry, error) {
	if n = resolve(n); isNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, r.errorf(n.Line, path, "want a map, not %s", kind(n))
	}
	var (
		own, merged []entry
		lines       = map[string]int{}
	)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		line := n.Content[i].Line
		switch {
		case key.Kind != yaml.ScalarNode || isNull(key):
			return nil, r.errorf(line, path, "a key must be a single value, not %s", kind(key))
		case key.ShortTag() == "!!merge":
			more, err := r.merge(value, below(path, key.Value))
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		case lines[key.Value] != 0:
			return nil, r.errorf(line, below(path, key.Value), "is there twice, first in line %d", lines[key.Value])
		}
		lines[key.Value] = line
		own = append(own, entry{key.Value, line, value})
	}
	for _, e := range merged {
		if lines[e.key] == 0 {
			lines[e.key] = e.line
			own = append(own, e)
		}
	}
	return own, nil
}

// merge returns the entries of what follows a merge key: a map or a list of
// maps, of which the first wins.
func (r *reader) merge(n *yaml.Node, path string) ([]entry, error) {
	maps := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		maps = n.Content
	}
	var all []entry
	for _, m := range maps {
		if m = resolve(m); m.Kind != yaml.MappingNode {
			return nil, r.errorf(m.Line, path, "want a map or a list of maps, not %s", kind(m))
		}
		more, err := r.mapping(m, path)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// reading says how the keys of a map are read.
type reading map[string]func(e entry, at string) error

// fields reads a map. Its keys are those of the table below a path: each of them
// that is done has a function that reads it. Keys that begin with x- are free.
func (r *reader) fields(n *yaml.Node, path, inTable string, read reading) error {
	entries, err := r.mapping(n, path)
	if err != nil {
		return err
	}
	known := keysBelow[inTable]
	for name, k := range known {
		if (k.Fate == Done) != (read[name] != nil) {
			return fmt.Errorf("%s: is not read as the table says: %s", k.Path, k.Fate)
		}
	}
	for _, e := range entries {
		at := below(path, e.key)
		k := known[e.key]
		switch {
		case strings.HasPrefix(e.key, "x-"):
		case k == nil:
			err = r.unknown(e, at, known)
		case k.Fate == Refused:
			err = r.errorf(e.line, at, "%s", k.Note)
		case k.Fate == Ignored:
			r.ignore(e, at, k.Note)
		default:
			err = read[e.key](e, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) ignore(e entry, at, why string) {
	r.ignored = append(r.ignored, IgnoredKey{Key: e.key, Line: r.at(e.line, at, "has no effect: "+why)})
}

// unknown is an error if a key was most likely meant to be another one, and else
// worth a warning.
func (r *reader) unknown(e entry, at string, known map[string]*Key) error {
	if meant := near.Name(e.key, slices.Collect(maps.Keys(known))); meant != "" {
		return r.errorf(e.line, at, "is not a key; did you mean %s?", meant)
	}
	if instead := elsewhere[e.key]; instead != "" {
		return r.errorf(e.line, at, "is a key of Compose files: %s", instead)
	}
	r.warnf(e.line, at, "is not a key that is known")
	return nil
}

// list returns the items of a list. A null is an empty list.
func (r *reader) list(n *yaml.Node, path string) ([]*yaml.Node, error) {
	if isNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, r.errorf(n.Line, path, "want a list, not %s", kind(n))
	}
	items := make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		items[i] = resolve(c)
	}
	return items, nil
}

// text returns a single value as it is written.
func (r *reader) text(n *yaml.Node, path string) (string, error) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return "", r.errorf(n.Line, path, "want a single value, not %s", kind(n))
	}
	return n.Value, nil
}

// texts returns a list of single values.
func (r *reader) texts(n *yaml.Node, path string) ([]string, error) {
	items, err := r.list(n, path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, i := range items {
		s, err := r.text(i, path)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// yes returns a value that is true or false.
func (r *reader) yes(n *yaml.Node, path string) (bool, error) {
	s, err := r.text(n, path)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return false, r.errorf(n.Line, path, "%s is neither true nor false", registry.Quote(s))
}

// pairs returns a map of texts, or a list of NAME=TEXT or of such maps, as
// entries. The value of an entry without a text is null.
func (r *reader) pairs(n *yaml.Node, path string) ([]entry, error) {
	if n.Kind == yaml.MappingNode || isNull(n) {
		all, err := r.mapping(n, path)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if e.value.Kind != yaml.ScalarNode {
				return nil, r.errorf(e.value.Line, belowPair(path, e.key), "want a single value, not %s", kind(e.value))
			}
		}
		return all, nil
	}
	if n.Kind != yaml.SequenceNode {
		return nil, r.errorf(n.Line, path, "want a map or a list, not %s", kind(n))
	}
	items, err := r.list(n, path)
	if err != nil {
		return nil, err
	}
	items = flat(items)
	var all []entry
	lines := map[string]int{}
	for _, i := range items {
		more, err := r.pair(i, path)
		if err != nil {
			return nil, err
		}
		for _, e := range more {
			if lines[e.key] != 0 {
				return nil, r.errorf(e.line, belowPair(path, e.key), "is there twice, first in line %d", lines[e.key])
			}
			lines[e.key] = e.line
			all = append(all, e)
		}
	}
	return all, nil
}

// pair returns what an item of a list of pairs stands for: NAME=TEXT, or a map.
func (r *reader) pair(i *yaml.Node, path string) ([]entry, error) {
	if i.Kind == yaml.MappingNode {
		return r.pairs(i, path)
	}
	if isNull(i) {
		return nil, r.errorf(i.Line, path, "want NAME=VALUE, not %s", kind(i))
	}
	name, value, ok := strings.Cut(i.Value, "=")
	e := entry{name, i.Line, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: i.Line}}
	if !ok {
		e.value.Tag = "!!null"
	}
	return []entry{e}, nil
}

// flat returns the items of a list with those of the lists in it, as aliases of
// lists make them.
func flat(items []*yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, i := range items {
		if i.Kind != yaml.SequenceNode {
			all = append(all, i)
			continue
		}
		inner := make([]*yaml.Node, len(i.Content))
		for n, c := range i.Content {
			inner[n] = resolve(c)
		}
		all = append(all, flat(inner)...)
	}
	return all
}
