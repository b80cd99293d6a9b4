package embedded

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// entry is a line of the child's log.
type entry struct {
	Level   string `json:"level"`
	Message string `json:"msg"`
	Error   string `json:"error,omitempty"`
}

func logLine(level, text string, err error) string {
	b, e := json.Marshal(entry{Level: level, Message: text, Error: err.Error()})
	if e != nil {
		return text
	}
	return string(b)
}

// String returns what the entry says, without its level.
func (e entry) String() string {
	if e.Error == "" {
		return e.Message
	}
	return e.Message + ": " + e.Error
}

// traceLimit bounds what is kept of a trace, in bytes.
const traceLimit = 64 << 10

// crashed begins what the Go runtime says before it ends a process.
var crashed = regexp.MustCompile(`^(panic: |fatal error: |runtime: |unexpected fault address|SIG[A-Z]+: )`)

// lastWords are what is known of why a child ended.
type lastWords struct {
	// fatal is what etcd said, crash the first line of the runtime, and trace
	// all that followed.
	fatal, crash string
	trace        []byte
}

// listen reads the child's stderr to its end. heed gets the entries of etcd's
// log but for its last, rest the lines that are neither.
func (w *lastWords) listen(r io.Reader, heed func(entry), rest func(string)) {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\n"); line != "" {
			w.take(line, heed, rest)
		}
		if err != nil {
			return
		}
	}
}

func (w *lastWords) take(line string, heed func(entry), rest func(string)) {
	var e entry
	switch {
	case w.crash != "":
		w.keep(line)
	case crashed.MatchString(line):
		w.crash = line
		w.keep(line)
	case json.Unmarshal([]byte(line), &e) != nil || e.Level == "":
		rest(line)
	case slices.Contains([]string{"fatal", "panic", "dpanic"}, e.Level):
		w.fatal = e.String()
	default:
		heed(e)
	}
}

func (w *lastWords) keep(line string) {
	if len(w.trace)+len(line) < traceLimit {
		w.trace = append(append(w.trace, line...), '\n')
	}
}

// save writes the trace beside the data, if there is one, and returns where.
func (w *lastWords) save(path string) string {
	if len(w.trace) == 0 || os.WriteFile(path, w.trace, 0o600) != nil {
		return ""
	}
	return path
}

// cause says why the child ended: what it said to its parent, else what etcd or
// the runtime said at last, else what the kernel knows.
func (w *lastWords) cause(dir string, said message, state *os.ProcessState) error {
	switch {
	case said.InUse != "":
		return &InUseError{Address: said.InUse}
	case said.Error != "":
		return errors.New(said.Error)
	case w.fatal != "":
		return fmt.Errorf("etcd in %s: %s", dir, w.fatal)
	case w.crash != "":
		return fmt.Errorf("etcd in %s: %s", dir, w.crash)
	case state.String() == "signal: killed":
		return fmt.Errorf("etcd in %s: killed, by hand or by the kernel for want of memory", dir)
	}
	return fmt.Errorf("etcd in %s: ended without a word (%s)", dir, state)
}
