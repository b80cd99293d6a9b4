package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/system"
	"golang.org/x/sys/unix"
)

// runtimeWatch hears of each start of the programs by which the engine has
// containers created, killed and so on, such as runc. They take milliseconds
// from their start to what they are there for, and the engine tells of that
// afterwards.
//
// It is fanotify(7) on those files, which takes CAP_SYS_ADMIN, and to be on the
// engine's host.
type runtimeWatch struct {
	file *os.File

	mu sync.Mutex
	// paths are the files, names what they are called.
	paths []string
	names map[string]bool
}

// mostStarts is how many starts are looked at at once. More of them wait in the
// kernel.
const mostStarts = 32

func newRuntimeWatch() (*runtimeWatch, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return nil, fmt.Errorf("fanotify_init: %w", err)
	}
	return &runtimeWatch{file: os.NewFile(uintptr(fd), "fanotify"), names: map[string]bool{}}, nil
}

// follow has the files of the engine's runtimes watched from the next refresh
// on, wherever they may be.
func (w *runtimeWatch) follow(info *system.Info) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = nil
	for _, r := range info.Runtimes {
		w.paths = append(w.paths, runtimePaths(r.Path)...)
	}
	for _, p := range w.paths {
		w.names[filepath.Base(p)] = true
	}
}

// refresh watches the files as they are now: an update puts another one in the
// place of each. It returns how many they are.
func (w *runtimeWatch) refresh() (n int, err error) {
	w.mu.Lock()
	paths := slices.Clone(w.paths)
	w.mu.Unlock()
	c, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	for _, p := range paths {
		var failed error
		// To watch a file twice is to watch it once.
		done := c.Control(func(fd uintptr) {
			failed = unix.FanotifyMark(int(fd), unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, p)
		})
		if e := errors.Join(done, failed); e != nil {
			err = errors.Join(err, fmt.Errorf("fanotify_mark %s: %w", p, e))
			continue
		}
		n++
	}
	return n, err
}

// runtimePaths returns the files that a runtime's path may mean. One without a
// directory is looked for by others, whose PATH may be another one than ours.
func runtimePaths(path string) []string {
	if path == "" {
		return nil
	}
	paths := []string{path}
	if !strings.Contains(path, "/") {
		paths = nil
		if found, err := exec.LookPath(path); err == nil {
			paths = append(paths, found)
		}
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			paths = append(paths, filepath.Join(dir, path))
		}
	}
	var there []string
	for _, p := range paths {
		if i, err := os.Stat(p); err == nil && i.Mode().IsRegular() {
			there = append(there, p)
		}
	}
	return there
}

// readPause is how long to wait after a failure to read.
const readPause = 100 * time.Millisecond

// run tells of each start with its command line until ctx ends, and of failures
// to. It closes w.
func (w *runtimeWatch) run(ctx context.Context, started func(argv []string), failed func(error)) {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer w.file.Close()
	var looking sync.WaitGroup
	defer looking.Wait()
	busy := make(chan struct{}, mostStarts)
	for buf := make([]byte, 4096); ; {
		n, err := w.file.Read(buf)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// The kernel opens the file for whoever reads of it. If it can't,
			// such as for want of file descriptors, the next time it may.
			failed(err)
			wait(ctx, readPause)
			continue
		}
		for _, pid := range startsIn(buf[:n]) {
			busy <- struct{}{}
			looking.Go(func() {
				if argv := w.commandLine(ctx, pid); argv != nil {
					started(argv)
				}
				<-busy
			})
		}
	}
}

// startsIn returns the processes that events are about, and closes the files
// that come with them (fanotify(7), "struct fanotify_event_metadata").
func startsIn(events []byte) []int {
	var pids []int
	for len(events) >= unix.FAN_EVENT_METADATA_LEN {
		length := int(binary.NativeEndian.Uint32(events))
		if fd := int32(binary.NativeEndian.Uint32(events[16:])); fd >= 0 {
			_ = unix.Close(int(fd))
		}
		if pid := int32(binary.NativeEndian.Uint32(events[20:])); pid > 0 {
			pids = append(pids, int(pid))
		}
		if length < unix.FAN_EVENT_METADATA_LEN || length > len(events) {
			break
		}
		events = events[length:]
	}
	return pids
}

// A process has its new command line a moment after the file was opened: in so
// many tries at the most.
const (
	commandLineTries = 50
	commandLinePause = 100 * time.Microsecond
)

// commandLine returns the command line of a process that is about to become a
// runtime, nil if it doesn't.
func (w *runtimeWatch) commandLine(ctx context.Context, pid int) []string {
	for range commandLineTries {
		if !ofShim("/proc", pid) {
			return nil
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || ctx.Err() != nil {
			return nil
		}
		argv := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		w.mu.Lock()
		became := runs(argv, w.names)
		w.mu.Unlock()
		if became {
			return argv
		}
		wait(ctx, commandLinePause)
	}
	return nil
}

// ofShim reports whether a process is one that a shim of containerd's has
// started, as root and on this host: anybody may start a runtime, and have it
// say that it is about to kill what it can't. To look at the command line of a
// stranger's process could even take for ever.
func ofShim(proc string, pid int) bool {
	parent, root := statusOf(proc, pid)
	if !root {
		return false
	}
	exe, err := os.Readlink(filepath.Join(proc, strconv.Itoa(parent), "exe"))
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "containerd-shim") {
		return false
	}
	_, root = statusOf(proc, parent)
	return root
}

// statusOf returns the parent of a process, and whether it is root's and in no
// other PID namespace than /proc.
func statusOf(proc string, pid int) (parent int, root bool) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, false
	}
	here, effective := false, ""
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch fields := strings.Fields(value); {
		case key == "PPid" && len(fields) == 1:
			parent, _ = strconv.Atoi(fields[0])
		case key == "Uid" && len(fields) == 4: // real, effective, saved, file system
			effective = fields[1]
		case key == "NSpid":
			here = len(fields) == 1
		}
	}
	return parent, here && effective == "0"
}

// listen hears of kills before they are done, if it can.
func (a *Agent) listen(ctx context.Context) {
	if a.runtimes == nil {
		return
	}
	a.runtimes.run(ctx, func(argv []string) {
		a.unheard.Over("kills are heard of before they are done again")
		if id, signal, ok := killOf(argv); ok {
			a.tracker.foretold(id, signal, time.Now())
		}
	}, func(err error) {
		a.unheard.Note("can't hear of every kill before it is done: the engine's events tell of the others, and this is tried again", err)
	})
}

// refreshRuntimes has the agent hear of the starts of the runtimes as they are
// now. It says once of how many.
func (a *Agent) refreshRuntimes() {
	if a.runtimes == nil {
		return
	}
	n, err := a.runtimes.refresh()
	a.heard.Do(func() {
		a.log.Debug("kills by the engine's runtimes are known before they are done", "runtimes", n, "error", err)
	})
}
