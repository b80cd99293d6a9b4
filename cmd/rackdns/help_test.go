package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// eachCommand calls f for each command that people are told of.
func eachCommand(t *testing.T, f func(t *testing.T, cmd *cobra.Command)) {
	t.Helper()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) { f(t, cmd) })
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(rootCommand())
}

// The help of each command tells of each flag by which variable it can be given,
// and has an example.
func TestHelpTellsVariables(t *testing.T) {
	eachCommand(t, func(t *testing.T, cmd *cobra.Command) {
		t.Helper()
		var b bytes.Buffer
		cmd.SetOut(&b)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		if cmd.Example == "" {
			t.Error("no example")
		}
		_, help, _ := strings.Cut(b.String(), "Flags:\n")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" || f.Hidden {
				return
			}
			line := ""
			for l := range strings.Lines(help) {
				if words := strings.Fields(l); slices.Contains(words[:min(2, len(words))], "--"+f.Name) {
					line = l
				}
			}
			if !strings.Contains(line, "[$"+environment(f.Name)+"]") {
				t.Errorf("--%s: its variable is not told: %q", f.Name, line)
			}
		})
	})
}

// What means the same has one short form everywhere, and no short form means two
// things.
func TestShorthands(t *testing.T) {
	short := map[string]string{"rack": "r", "app": "a", "output": "o", "file": "f", "yes": "y"}
	long := map[string]string{}
	eachCommand(t, func(t *testing.T, cmd *cobra.Command) {
		t.Helper()
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if want, ok := short[f.Name]; ok && f.Shorthand != want {
				t.Errorf("--%s has the short form %q, want -%s", f.Name, f.Shorthand, want)
			}
			if f.Shorthand == "" {
				return
			}
			if is, ok := long[f.Shorthand]; ok && is != f.Name {
				t.Errorf("-%s is --%s here, and --%s elsewhere", f.Shorthand, f.Name, is)
			}
			long[f.Shorthand] = f.Name
		})
	})
}
