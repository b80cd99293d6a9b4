package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rackdns/rackdns/internal/manifest"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// ReadFile reads a file of lines KEY=VALUE, such as .env, and returns its
// variables; the last one of a name counts.
//
// Empty lines and those that begin with # are nothing, "export " before a name
// neither. A value is what is written up to the end of its line, unless it
// begins with a quote: then it ends at the next such quote, lines further if
// need be, and may be followed by a comment. Nothing is special between single
// quotes; between double ones \n, \r and \t are what they are in Go, and a
// backslash makes a plain character of ", \, $ and the backquote. Nothing is
// ever expanded.
//
// Errors name file and line, never what is there: it is likely a secret.
func ReadFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(path, f)
}

// ReadFrom is ReadFile for what is open already, and called name in errors.
func ReadFrom(name string, r io.Reader) (map[string]string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return parseFile(name, string(data))
}

func parseFile(path, text string) (map[string]string, error) {
	all := map[string]string{}
	text = strings.TrimPrefix(text, "\ufeff")
	for line := 1; text != ""; {
		name, value, rest, err := next(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		if name != "" {
			all[name] = value
		}
		line += strings.Count(text[:len(text)-len(rest)], "\n")
		text = rest
	}
	return all, nil
}

var (
	errNotPair = errors.New("want NAME=VALUE, with letters, digits and underscores in the name")
	errNUL     = errors.New("holds a NUL, which no environment can carry")
	errOpen    = errors.New("a quote that is not closed")
	errBehind  = errors.New("something follows the closing quote")
)

// next takes one variable off the text, or none, and returns what is left.
func next(text string) (name, value, rest string, err error) {
	line, rest, _ := strings.Cut(text, "\n")
	line = strings.TrimSuffix(line, "\r")
	start := strings.TrimLeft(line, " \t")
	if start == "" || start[0] == '#' {
		return "", "", rest, nil
	}
	name, value, ok := strings.Cut(start, "=")
	if after, ok := strings.CutPrefix(name, "export"); ok && strings.TrimLeft(after, " \t") != after {
		name = strings.TrimLeft(after, " \t")
	}
	if !ok || !manifest.IsVariable(name) {
		return "", "", "", errNotPair
	}
	if value != "" && (value[0] == '\'' || value[0] == '"') {
		value, rest, err = quoted(text[len(line)-len(value):])
	}
	if err == nil && strings.Contains(value, "\x00") {
		err = errNUL
	}
	return name, value, rest, err
}

// quoted takes a quoted value, with the rest of its last line, off the text.
func quoted(text string) (value, rest string, err error) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			behind, rest, _ := strings.Cut(text[i+1:], "\n")
			if behind = strings.TrimSpace(behind); behind != "" && behind[0] != '#' {
				return "", "", errBehind
			}
			return b.String(), rest, nil
		case c == '\\' && quote == '"' && i+1 < len(text):
			i++
			b.WriteString(unescape(text[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errOpen
}

// unescape returns what a backslash and c stand for between double quotes.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '"', '\\', '$', '`':
		return string(c)
	}
	return `\` + string([]byte{c})
}
