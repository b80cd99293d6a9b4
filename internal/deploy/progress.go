package deploy

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/rackdns/rackdns/internal/terminal"
)

// progress writes a line for each thing that was done, with the name of the
// service or resource that it was done to in front.
type progress struct {
	w     io.Writer
	width int
	mu    sync.Mutex
	// lanes are those of what is worked on side by side, see abreast.
	lanes []*lane
}

// widen makes room for a name.
func (p *progress) widen(name string) { p.width = max(p.width, len(name)) }

// say writes a line. That nobody can read it is no reason to stop.
func (p *progress) say(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("%-*s  %s\n", p.width, name, terminal.Strip(fmt.Sprintf(format, args...)))
	if !p.held(name, line) {
		p.write(line)
	}
}

func (p *progress) write(lines ...string) {
	for _, l := range lines {
		_, _ = io.WriteString(p.w, l)
	}
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
