package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"mvdan.cc/sh/v3/syntax"
)

// Shell is what runs a command that is more than words.
const Shell = "/bin/sh"

// command reads the words of a list, or a string that is what a shell would make
// of it.
func (r *reader) command(n *yaml.Node, path string) ([]string, error) {
	if n.Kind == yaml.SequenceNode {
		words, err := r.texts(n, path)
		if err == nil && len(words) == 0 {
			err = r.errorf(n.Line, path, "is empty")
		}
		return words, err
	}
	if isNull(n) {
		return nil, nil
	}
	s, err := r.text(n, path)
	if err != nil {
		return nil, err
	}
	words, ok := split(s)
	if !ok {
		// The library's message may repeat a secret.
		return nil, r.errorf(n.Line, path, "no shell understands it: a quote, a bracket or the like is not closed, or something is missing behind an operator")
	}
	if len(words) == 0 {
		return nil, r.errorf(n.Line, path, "is empty")
	}
	return words, nil
}

// split returns the words of a command as a POSIX shell would split it. If it is
// more than words (a pipe, a variable, a pattern, several commands), they are
// those by which a shell runs it. ok is false if no shell understands it.
func split(command string) (words []string, ok bool) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(command), "")
	if err != nil {
		return nil, false
	}
	if len(file.Stmts) == 0 {
		return nil, true
	}
	call := plainCall(file)
	if call == nil {
		return []string{Shell, "-c", command}, true
	}
	for _, w := range call.Args {
		words = append(words, unquoted(w.Parts, ""))
	}
	if slices.Contains(builtins, words[0]) {
		return []string{Shell, "-c", command}, true
	}
	return words, true
}

// builtins are commands that only a shell has.
var builtins = []string{".", ":", "cd", "eval", "exec", "exit", "export", "read", "set", "shift", "source", "trap", "ulimit", "umask", "unset", "wait"}

// plainCall returns the only command of a file if it is nothing but words that
// mean what they say.
func plainCall(file *syntax.File) *syntax.CallExpr {
	if len(file.Stmts) != 1 {
		return nil
	}
	stmt := file.Stmts[0]
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !ok || stmt.Negated || stmt.Background || stmt.Coprocess || len(stmt.Redirs) > 0 || len(call.Assigns) > 0 {
		return nil
	}
	for _, w := range call.Args {
		for n, part := range w.Parts {
			if !isPlainPart(part, n == 0) {
				return nil
			}
		}
	}
	return call
}

// isPlainPart reports whether a part of a word stands for itself, quotes and
// backslashes aside.
func isPlainPart(part syntax.WordPart, first bool) bool {
	switch p := part.(type) {
	case *syntax.Lit:
		return (!first || !strings.HasPrefix(p.Value, "~")) && !hasPattern(p.Value)
	case *syntax.SglQuoted:
		return true
	case *syntax.DblQuoted:
		for _, inner := range p.Parts {
			if _, ok := inner.(*syntax.Lit); !ok {
				return false
			}
		}
		return true
	}
	return false
}

// unquoted returns what plain parts stand for. Of a text in double quotes only
// some letters can be behind a backslash that is none of the text.
func unquoted(parts []syntax.WordPart, escapable string) string {
	var b strings.Builder
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			b.WriteString(unquoted(p.Parts, "$`\"\\\n"))
		case *syntax.Lit:
			b.WriteString(unescaped(p.Value, escapable))
		}
	}
	return b.String()
}

// unescaped leaves out backslashes before a letter that can be escaped, any if
// none is named. Before the end of a line both are left out.
func unescaped(s, escapable string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (escapable == "" || strings.IndexByte(escapable, s[i+1]) >= 0) {
			if i++; s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hasPattern reports whether an unquoted text would be taken for the pattern of
// files' names.
func hasPattern(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}
