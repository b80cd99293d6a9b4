package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/rackdns/rackdns/internal/terminal"
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

// printJSON prints v for programs, and for people who look at what they get:
// what steers a terminal is escaped.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(terminal.JSON(b.Bytes()))
	return err
}

// onTerminal reports whether somebody looks at what is written to w.
func onTerminal(w io.Writer) bool {
	if out, ok := w.(*written); ok {
		w = out.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// table is rows of cells, aligned for people: columns are two spaces apart, and
// no line ends in a space. A row may have fewer cells than others.
type table struct{ rows [][]string }

// add adds a row. What a cell holds may come from anybody who writes to the
// registry, so it can neither break the line nor speak to the terminal.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for n, c := range cells {
		row[n] = terminal.Text(c)
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
