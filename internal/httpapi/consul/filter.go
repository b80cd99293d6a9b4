package consul

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/rackdns/rackdns/internal/httpapi"
)

// filter is a filter expression of the simple kind: comparisons that all have to be
// true. Nil lets everything pass.
type filter []comparison

// comparison is of a field with a value.
type comparison struct {
	selector, value string
	// in says that the field is a list that has the value, not that it is none that
	// has it, or is another one.
	in, not bool
}

var errFilter = httpapi.Errorf(http.StatusBadRequest,
	`filter: only comparisons joined by "and" are understood here, such as Service.Port == 80, Node.Node != "a" or "blue" in Service.Tags`)

// parseFilter takes an expression. The error is a 400 in words: to let everything
// pass that isn't understood would be a wrong answer.
func parseFilter(text string) (filter, error) {
	words, err := split(text)
	if err != nil || len(words) == 0 {
		return nil, err
	}
	var f filter
	for {
		c, rest, err := parseComparison(words)
		if err != nil {
			return nil, err
		}
		f = append(f, c)
		switch {
		case len(rest) == 0:
			return f, nil
		case !rest[0].is("and"):
			return nil, errFilter
		}
		words = rest[1:]
	}
}

// word is a piece of an expression.
type word struct {
	text   string
	quoted bool
}

func (w word) is(text string) bool { return !w.quoted && strings.EqualFold(w.text, text) }

func parseComparison(words []word) (c comparison, rest []word, err error) {
	if len(words) < 3 {
		return c, nil, errFilter
	}
	left, op, right, rest := words[0], words[1], words[2], words[3:]
	if op.is("not") || op.is("is") {
		if c.not = op.is("not"); op.is("is") || len(rest) == 0 {
			return c, nil, errFilter
		}
		op, right, rest = words[2], words[3], words[4:]
	}
	switch {
	case op.is("=="), op.is("!=") && !c.not:
		c.selector, c.value = left.text, right.text
		c.not = op.is("!=")
	case op.is("in"):
		c.selector, c.value, c.in = right.text, left.text, true
		left = right
	case op.is("contains"):
		c.selector, c.value, c.in = left.text, right.text, true
	default:
		return c, nil, errFilter
	}
	if left.quoted || strings.ContainsAny(c.selector, "()[]") {
		return c, nil, errFilter
	}
	return c, rest, nil
}

// split takes an expression apart.
func split(text string) ([]word, error) {
	var words []word
	for {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		switch {
		case text == "":
			return words, nil
		case text[0] == '"' || text[0] == '`':
			end := strings.IndexByte(text[1:], text[0])
			if end < 0 || strings.Contains(text[1:1+end], `\`) {
				return nil, errFilter
			}
			words, text = append(words, word{text[1 : 1+end], true}), text[end+2:]
		case strings.HasPrefix(text, "==") || strings.HasPrefix(text, "!="):
			words, text = append(words, word{text: text[:2]}), text[2:]
		default:
			end := strings.IndexFunc(text, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("=!\"`", c) })
			switch {
			case end == 0:
				return nil, errFilter
			case end < 0:
				end = len(text)
			}
			words, text = append(words, word{text: text[:end]}), text[end:]
		}
	}
}

// match reports whether what has these fields passes. The error is a 400 for a
// field that there isn't.
func (f filter) match(field func(selector string) (any, bool)) (bool, error) {
	for _, c := range f {
		v, ok := field(c.selector)
		if !ok {
			return false, httpapi.Errorf(http.StatusBadRequest, "filter: there is no %s here", httpapi.Quote(c.selector))
		}
		all, isList := v.([]string)
		if isList != c.in {
			return false, httpapi.Errorf(http.StatusBadRequest, "filter: %s is to be compared in another way", httpapi.Quote(c.selector))
		}
		is := slices.Contains(all, c.value)
		if text, ok := v.(string); ok {
			is = text == c.value
		}
		if is == c.not {
			return false, nil
		}
	}
	return true, nil
}

// field is one of an entry's by its selector.
func (e *Entry) field(selector string) (any, bool) {
	if name, ok := strings.CutPrefix(selector, "Node."); ok {
		return nodeField(&e.Node, name)
	}
	if name, ok := strings.CutPrefix(selector, "Checks."); ok {
		return checkField(&e.Checks[0], name)
	}
	// The catalog has the same fields without a dot.
	name, ok := strings.CutPrefix(selector, "Service.")
	if !ok {
		if name, ok = strings.CutPrefix(selector, "Service"); !ok {
			return nodeField(&e.Node, selector)
		}
	}
	if key, ok := strings.CutPrefix(name, "Meta."); ok {
		return e.Service.Meta[key], true
	}
	switch name {
	case "Service", "Name":
		return e.Service.Service, true
	case "ID":
		return e.Service.ID, true
	case "Address":
		return e.Service.Address, true
	case "Port":
		return strconv.Itoa(int(e.Service.Port)), true
	case "Tags":
		return e.Service.Tags, true
	}
	return nil, false
}

func nodeField(n *Node, name string) (any, bool) {
	switch name {
	case "Node":
		return n.Node, true
	case "ID":
		return n.ID, true
	case "Address":
		return n.Address, true
	case "Datacenter":
		return n.Datacenter, true
	}
	return nil, false
}

func checkField(c *Check, name string) (any, bool) {
	switch name {
	case "Status":
		return c.Status, true
	case "CheckID":
		return c.CheckID, true
	case "Name":
		return c.Name, true
	case "ServiceID":
		return c.ServiceID, true
	case "ServiceName":
		return c.ServiceName, true
	}
	return nil, false
}
