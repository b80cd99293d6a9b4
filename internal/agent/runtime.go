package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	// names are those of the files.
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

// follow watches the files of the engine's runtimes, wherever they may be. It is
// called again with each connection to the engine: an update puts another file
// in the place of one.
func (w *runtimeWatch) follow(info *system.Info) error {
	var all error
	for _, r := range info.Runtimes {
		for _, path := range runtimePaths(r.Path) {
			if err := w.mark(path); err != nil {
				all = errors.Join(all, fmt.Errorf("watch %s: %w", path, err))
			}
		}
	}
	return all
}

func (w *runtimeWatch) mark(path string) error {
	w.mu.Lock()
	w.names[filepath.Base(path)] = true
	w.mu.Unlock()
	c, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	// To watch a file twice is to watch it once.
	err = c.Control(func(fd uintptr) {
		failed = unix.FanotifyMark(int(fd), unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, path)
	})
	return errors.Join(err, failed)
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

// run tells of each start with its command line until ctx ends. It closes w.
func (w *runtimeWatch) run(ctx context.Context, started func(argv []string)) error {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer w.file.Close()
	var looking sync.WaitGroup
	defer looking.Wait()
	busy := make(chan struct{}, mostStarts)
	for buf := make([]byte, 4096); ; {
		n, err := w.file.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("fanotify: %w", err)
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

// listen hears of kills before they are done, if it can.
func (a *Agent) listen(ctx context.Context) {
	if a.runtimes == nil {
		return
	}
	err := a.runtimes.run(ctx, func(argv []string) {
		if id, signal, ok := killOf(argv); ok {
			a.tracker.foretold(id, signal, time.Now())
		}
	})
	if err != nil {
		a.log.Warn("can't hear any more of kills before they are done: the engine's events tell of them", "error", err)
	}
}
