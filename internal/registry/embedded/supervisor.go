package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// How long a child that ended is left alone: at first, at most, and how long
// one must have lived for the next to be a first one again.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	longLife   = time.Minute
)

// probation is how long a child has to live before it counts as back: on a full
// disk one starts and ends with the first write, again and again.
const probation = 3 * time.Second

// reminder is how often a registry that can't be started is told of.
const reminder = 10 * time.Minute

// crashLog is the file in the data directory with the last trace of a child.
const crashLog = "registry-crash.log"

// Options are what the parent of a member decides.
type Options struct {
	// Command makes the child, whose main function is to call [RunChild].
	Command func() *exec.Cmd
	Log     *slog.Logger
	// Insist says that a member that can't be started at first is tried again,
	// as it would be later.
	Insist bool
}

// Registry is a member in a child process, which is started again whenever it
// ends.
type Registry struct {
	cfg  Config
	opts Options
	lock *os.File
	// stop ends run, done says that it has ended.
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	child *child
}

// Start returns when the member serves. An error names the directory or the
// address that is the cause; with Insist only one that another start would meet
// as well. ctx bounds the start alone.
func Start(ctx context.Context, cfg Config, opts Options) (*Registry, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkSocket(cfg.Socket); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	tell()
	r := &Registry{cfg: cfg, opts: opts, lock: lock, done: make(chan struct{})}
	begun := time.Now()
	c, err := r.launch(ctx)
	if err != nil {
		var inUse *InUseError
		if !opts.Insist || errors.As(err, &inUse) || ctx.Err() != nil {
			return nil, errors.Join(err, lock.Close())
		}
		r.tellGone("", err)
	}
	life, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.run(life, c, begun)
	return r, nil
}

// Endpoint is the URL that clients on this host use.
func (r *Registry) Endpoint() string { return r.cfg.Endpoint() }

// PID is the process ID of the child, 0 while there is none.
func (r *Registry) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.child == nil {
		return 0
	}
	return r.child.cmd.Process.Pid
}

// Close ends the child and returns when its files are closed.
func (r *Registry) Close() error {
	r.stop()
	<-r.done
	_ = os.Remove(r.cfg.Socket) // there only if the child was killed
	return r.lock.Close()
}

// checkSocket makes sure that whatever is at the socket's path may go: etcd
// removes it without a look.
func checkSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket %s: %w", path, cause(err))
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("socket %s: there is a file already, which is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return &InUseError{Address: path}
	}
	return nil
}

// run has a child until ctx ends. c is the first, nil if it couldn't be started.
func (r *Registry) run(ctx context.Context, c *child, begun time.Time) {
	defer close(r.done)
	pause := &backoff.ExponentialBackOff{
		InitialInterval: firstPause, MaxInterval: maxPause, Multiplier: 2, RandomizationFactor: backoff.DefaultRandomizationFactor,
	}
	pause.Reset()
	gone := begun
	for {
		if c != nil {
			select {
			case <-c.exited:
			case <-ctx.Done():
				c.end()
				return
			}
			if time.Since(begun) >= longLife {
				pause.Reset()
			}
			gone = time.Now()
			r.tellGone(r.lost(c))
		}
		if c, begun = r.relaunch(ctx, pause); c == nil {
			return
		}
		r.opts.Log.Info("the registry is back", "away", begun.Sub(gone).Round(time.Millisecond))
	}
}

// relaunch tries until there is a child again that stays, or ctx ends. begun is
// when it served.
func (r *Registry) relaunch(ctx context.Context, pause backoff.BackOff) (_ *child, begun time.Time) {
	told := time.Now()
	for {
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return nil, begun
		}
		c, err := r.launch(ctx)
		trace := ""
		if err == nil {
			begun = time.Now()
			select {
			case <-time.After(probation):
				return c, begun
			case <-ctx.Done():
				c.end()
				return nil, begun
			case <-c.exited:
				trace, err = r.lost(c)
			}
		}
		if time.Since(told) >= reminder && ctx.Err() == nil {
			told = time.Now()
			r.tellGone(trace, err)
		}
	}
}

// lost says why a child that served has ended, and where its trace is, if any.
func (r *Registry) lost(c *child) (trace string, cause error) {
	r.set(nil)
	ends.Inc()
	return c.words.save(filepath.Join(r.cfg.Dir, crashLog)), c.cause()
}

// tellGone is the one line about a registry that isn't there.
func (r *Registry) tellGone(trace string, cause error) {
	args := []any{"cause", cause}
	if trace != "" {
		args = append(args, "trace", trace)
	}
	if strings.Contains(cause.Error(), syscall.ENOSPC.Error()) {
		args = append(args, "hint", "free some space there")
	}
	r.opts.Log.Error("the registry has ended: DNS answers what it knows, nothing new is registered, and it is started again", args...)
}

func (r *Registry) set(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.child = c
	if c == nil {
		running.Set(0)
	} else {
		running.Set(1)
	}
}

// launch starts a child and returns it when it serves.
func (r *Registry) launch(ctx context.Context) (*child, error) {
	c, err := r.spawn()
	if err != nil {
		return nil, fmt.Errorf("start the registry's process: %w", err)
	}
	select {
	case <-c.ready:
		r.set(c)
		return c, nil
	case <-c.exited:
		ends.Inc()
		c.words.save(filepath.Join(r.cfg.Dir, crashLog))
		return nil, c.cause()
	case <-ctx.Done():
		c.end()
		return nil, ctx.Err()
	}
}

// child is a process that runs a member.
type child struct {
	cmd *exec.Cmd
	dir string
	// control is its stdin, whose end is its own.
	control io.WriteCloser
	// ready is closed when it serves, exited when it has ended and said all.
	ready, exited chan struct{}
	said          message
	words         lastWords
}

func (r *Registry) spawn() (*child, error) {
	c := &child{cmd: r.opts.Command(), dir: filepath.Join(r.cfg.Dir, "etcd"), ready: make(chan struct{}), exited: make(chan struct{})}
	// Ctrl-C goes to all processes of the terminal's group.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.ExtraFiles = []*os.File{r.lock}
	var err error
	if c.control, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	// A child that is gone already says why by its end.
	_ = json.NewEncoder(c.control).Encode(r.cfg)
	var readers, writer sync.WaitGroup
	readers.Go(func() { c.hear(stdout) })
	said := logbook{log: r.opts.Log, entries: make(chan entry)}
	readers.Go(func() {
		c.words.listen(stderr, func(e entry) { said.entries <- e }, func(line string) { fmt.Fprintln(os.Stderr, line) })
	})
	writer.Go(func() { said.run(c.ready) })
	go func() {
		defer close(c.exited)
		readers.Wait()
		close(said.entries)
		writer.Wait()
		_ = c.cmd.Wait() // the result is in cmd.ProcessState
		_ = c.control.Close()
	}()
	return c, nil
}

// hear reads what the child says until its end.
func (c *child) hear(stdout io.Reader) {
	for d := json.NewDecoder(stdout); ; {
		var m message
		if err := d.Decode(&m); err != nil {
			_, _ = io.Copy(io.Discard, stdout) // whatever it is, it must not block
			return
		}
		if m.Ready {
			close(c.ready)
		} else {
			c.said = m
		}
	}
}

// cause says why it ended.
func (c *child) cause() error { return c.words.cause(c.dir, c.said, c.cmd.ProcessState) }

// end ends the child and returns when it has.
func (c *child) end() {
	_ = c.control.Close()
	select {
	case <-c.exited:
	case <-time.After(closePatience + 2*time.Second):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}
