package deploy

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/label"
)

// held is how long a builder has to say that it needn't do a step.
const held = time.Second

// buildLog takes what a builder prints, and shows the steps that are not in its
// cache, or everything.
type buildLog struct {
	show func(line string)
	all  bool

	mu sync.Mutex
	// rest is the beginning of a line, said all that there was.
	rest []byte
	said strings.Builder
	// step is one that may yet turn out to be in the cache.
	step  string
	timer *time.Timer
}

var (
	// classicStep is a step of the classic builder, buildkitStep one of BuildKit's
	// as it prints them where there is no terminal.
	classicStep  = regexp.MustCompile(`^Step \d+/\d+ : (\S+)`)
	buildkitStep = regexp.MustCompile(`^#\d+ (\[(?:[^\]]* )?\d+/\d+\] (\S+).*)$`)
	// cachedStep is said of the step before.
	cachedStep = regexp.MustCompile(`^(?: ---> Using cache|#\d+ CACHED)$`)
)

// Write takes some more.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said.Write(p)
	l.rest = append(l.rest, p...)
	for {
		n := bytes.IndexByte(l.rest, '\n')
		if n < 0 {
			return len(p), nil
		}
		l.line(strings.TrimRight(string(l.rest[:n]), "\r"))
		l.rest = l.rest[n+1:]
	}
}

func (l *buildLog) line(line string) {
	if l.all {
		if strings.TrimSpace(line) != "" {
			l.show(line)
		}
		return
	}
	if cachedStep.MatchString(line) {
		l.drop()
		return
	}
	l.flush()
	step := ""
	// FROM has nothing to do but to pull.
	if m := classicStep.FindStringSubmatch(line); len(m) > 1 && !strings.EqualFold(m[1], "FROM") {
		step = line
	} else if m := buildkitStep.FindStringSubmatch(line); len(m) > 2 && !strings.EqualFold(m[2], "FROM") {
		step = m[1]
	}
	if step == "" || strings.Contains(step, " : LABEL "+label.UpImage+"=") {
		return
	}
	l.step = step
	l.timer = time.AfterFunc(held, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.step == step {
			l.flush()
		}
	})
}

// tell shows something that isn't a line of the builder's.
func (l *buildLog) tell(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(what)
}

func (l *buildLog) flush() {
	if step := l.step; step != "" {
		l.drop()
		l.show(step)
	}
}

func (l *buildLog) drop() {
	l.step = ""
	if l.timer != nil {
		l.timer.Stop()
	}
}

// end returns all that the builder has said, when it says nothing more.
func (l *buildLog) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(string(l.rest))
		l.rest = nil
	}
	l.flush()
	return l.said.String()
}
