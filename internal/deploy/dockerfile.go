package deploy

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// classicFlags are the flags of instructions that the engine's classic builder
// knows, where it doesn't know all.
var classicFlags = map[string][]string{
	"add":  {"chown"},
	"copy": {"chown", "from"},
	"run":  {},
}

// dockerfile is what has to be known of one before it is built.
type dockerfile struct {
	// arguments are the names that its ARG instructions have.
	arguments []string
	// newer is the first thing in it that only BuildKit can do, and line where;
	// empty if there is none.
	newer string
	line  int
}

// readDockerfile reads a Dockerfile. One that can't be understood is the
// builder's to refuse.
func readDockerfile(file string) (*dockerfile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &dockerfile{}
	if syntax, _, at, ok := parser.DetectSyntax(text); ok {
		d.need("the syntax "+syntax, at[0].Start.Line)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return d, nil
	}
	for _, n := range parsed.AST.Children {
		d.instruction(n)
	}
	return d, nil
}

func (d *dockerfile) instruction(n *parser.Node) {
	name := strings.ToLower(n.Value)
	if name == "arg" {
		for a := n.Next; a != nil; a = a.Next {
			argument, _, _ := strings.Cut(a.Value, "=")
			d.arguments = append(d.arguments, argument)
		}
	}
	if len(n.Heredocs) > 0 {
		d.need(strings.ToUpper(name)+" <<"+n.Heredocs[0].Name, n.StartLine)
	}
	known, ok := classicFlags[name]
	for _, f := range n.Flags {
		flag, _, _ := strings.Cut(strings.TrimPrefix(f, "--"), "=")
		if ok && !slices.Contains(known, flag) {
			d.need(strings.ToUpper(name)+" --"+flag, n.StartLine)
		}
	}
}

func (d *dockerfile) need(what string, line int) {
	if d.newer == "" {
		d.newer, d.line = what, line
	}
}

// classic returns why the classic builder can't build it, nil if it can.
func (d *dockerfile) classic(file string) error {
	if d.newer == "" {
		return nil
	}
	return fmt.Errorf("%s:%d: %s needs BuildKit, and there is no docker buildx for this user: install it (https://docs.docker.com/go/buildx/), or do without", file, d.line, d.newer)
}

// platformArguments are the values of the arguments by which a Dockerfile knows
// what it is built on and for. BuildKit has them by itself.
func platformArguments(os, arch string) map[string]string {
	all := map[string]string{}
	for _, of := range []string{"BUILD", "TARGET"} {
		all[of+"OS"], all[of+"ARCH"], all[of+"VARIANT"] = os, arch, ""
		all[of+"PLATFORM"] = os + "/" + arch
	}
	return all
}
