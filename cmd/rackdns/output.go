package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// output is the flag -o: text for people or JSON for programs.
type output struct{ json bool }

func (o *output) add(flags *pflag.FlagSet) {
	flags.VarP(o, "output", "o", "text for people, or json for programs")
}

// String returns the flag's value.
func (o *output) String() string {
	if o.json {
		return "json"
	}
	return "text"
}

// Set takes the flag's value.
func (o *output) Set(s string) error {
	switch s {
	case "text":
		o.json = false
	case "json":
		o.json = true
	default:
		return errors.New("want text or json")
	}
	return nil
}

// Type names the values in the help.
func (*output) Type() string { return "text|json" }

// printJSON prints v for programs, and for people who look at what they get.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table is rows of cells, aligned for people: columns are two spaces apart, and
// no line ends in a space. A row may have fewer cells than others.
type table struct{ rows [][]string }

// add adds a row. What a cell holds may come from anybody who writes to the
// registry, so it can neither break the line nor speak to the terminal.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for n, c := range cells {
		row[n] = printable(c)
	}
	t.rows = append(t.rows, row)
}

// print writes the rows, each after an indent.
func (t *table) print(w io.Writer, indent string) error {
	var widths []int
	for _, row := range t.rows {
		for n, c := range row {
			if n == len(widths) {
				widths = append(widths, 0)
			}
			widths[n] = max(widths[n], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		line := indent
		for n, c := range row {
			line += c + strings.Repeat(" ", widths[n]-utf8.RuneCountInString(c)+len("  "))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable makes a text fit for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
