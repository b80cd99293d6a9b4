package deploy

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
)

// progress writes a line for each thing that was done, with the name of the
// service or resource that it was done to in front.
type progress struct {
	w     io.Writer
	width int
	mu    sync.Mutex
}

// widen makes room for a name.
func (p *progress) widen(name string) { p.width = max(p.width, len(name)) }

// say writes a line. That nobody can read it is no reason to stop.
func (p *progress) say(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, "%-*s  %s\n", p.width, name, printable(fmt.Sprintf(format, args...)))
}

// printable keeps what others say from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "?"))
}

// lastLines returns the last n lines of a text that aren't empty.
func lastLines(text string, n int) []string {
	var lines []string
	for l := range strings.Lines(text) {
		if l = strings.TrimRightFunc(l, unicode.IsSpace); l != "" {
			lines = append(lines, l)
		}
	}
	return lines[max(len(lines)-n, 0):]
}
