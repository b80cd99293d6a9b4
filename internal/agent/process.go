package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
)

// initProcess is the process that a run of a container ends with, held by a
// pidfd: whatever process gets its number afterwards, it stands for that one.
type initProcess struct {
	pid int
	// started is the start of the run, by the engine.
	started time.Time
	pidfd   *os.File
}

// Why a process isn't watched. None of these is an error of the container's.
var (
	errNotItsInit = errors.New("the engine's process IDs are not those of this host's /proc: it is elsewhere, or in another PID namespace")
	errEnded      = errors.New("it has ended")
)

// openInit opens the init process of a container that runs. A process ID alone
// proves nothing: the engine may be on another host or in another PID namespace
// than the agent, and IDs are used again. So the process must be in the cgroup
// of that very container, and its first one; and since it is still there after
// that was read, it is the one that it was read of.
func openInit(f *facts) (*initProcess, error) {
	if f.pid <= 0 || f.started.IsZero() {
		return nil, errIncomplete
	}
	p, err := openProcess(f.pid, f.started)
	if err != nil {
		return nil, err
	}
	if err := p.check("/proc", f); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openProcess opens any process.
func openProcess(pid int, started time.Time) (*initProcess, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	// PidfdOpen takes this as a flag only since Linux 5.10. Without it, to wait
	// would take a thread for each process.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("pidfd of %d: %w", pid, err), unix.Close(fd))
	}
	return &initProcess{pid: pid, started: started, pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// held returns the number in /proc of the process that is held, 0 if it has
// none. It is another one than was asked for if /proc is not that of the agent's
// own PID namespace.
func (p *initProcess) held(c syscall.RawConn) (pid int) {
	_ = c.Control(func(fd uintptr) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if number, ok := strings.CutPrefix(line, "Pid:"); ok {
				pid, _ = strconv.Atoi(strings.TrimSpace(number))
			}
		}
	})
	return pid
}

// check says what is wrong with p as the init process of a container.
func (p *initProcess) check(proc string, f *facts) error {
	dir := filepath.Join(proc, strconv.Itoa(p.pid))
	cgroups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return err
	}
	if !inCgroup(string(cgroups), f.id) || !isFirst(string(status), f.pidMode) {
		return errNotItsInit
	}
	c, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	pid, ended := p.held(c), false
	if err := c.Control(func(fd uintptr) { ended = hasEnded(fd) }); err != nil {
		return err
	}
	switch {
	case ended:
		return errEnded
	case pid != p.pid:
		return errNotItsInit
	}
	return nil
}

// idDigits is how long the engine's own IDs of containers are.
const idDigits = 64

// inCgroup reports whether a /proc/<pid>/cgroup is of a process of the
// container with that ID. The container's cgroup is named after it, by whatever
// driver and below whatever parent, and may be divided further from within.
func inCgroup(cgroups, id string) bool {
	// A shorter one is no proof.
	if len(id) != idDigits {
		return false
	}
	for line := range strings.Lines(cgroups) {
		// <hierarchy>:<controllers>:<path>
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		named := func(part string) bool {
			// <ID>, or docker-<ID>.scope with systemd.
			scope, ok := strings.CutSuffix(part, ".scope")
			return part == id || ok && strings.HasSuffix(scope, "-"+id)
		}
		if len(fields) == 3 && slices.ContainsFunc(strings.Split(fields[2], "/"), named) {
			return true
		}
	}
	return false
}

// isFirst reports whether a /proc/<pid>/status may be that of a container's
// first process. Others are in its cgroup, too, and one of them could have, on
// this host, the number that an engine in a PID namespace of its own gave to
// the first. NSpid tells the numbers of a process in its namespaces, from that
// of /proc inwards: below the engine's, there is the container's and no other.
func isFirst(status string, mode container.PidMode) bool {
	for line := range strings.Lines(status) {
		numbers, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		n := strings.Fields(numbers)
		switch {
		case mode.IsHost():
			return len(n) == 1
		case mode.IsContainer():
			return len(n) == 2
		}
		return len(n) == 2 && n[1] == "1"
	}
	return false
}

// runs reports whether p is the process of the run that f tells of.
func (p *initProcess) runs(f *facts) bool {
	return p.pid == f.pid && p.started.Equal(f.started)
}

// ended reports whether the process has. While it is watched that is known
// before whoever waits for it is told.
func (p *initProcess) ended() (ended bool) {
	c, err := p.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	_ = c.Control(func(fd uintptr) { ended = hasEnded(fd) })
	return ended
}

// wait waits for the end of the process, and closes the pidfd. After an error,
// such as that it was stopped, nothing is known of the process.
func (p *initProcess) wait() error {
	defer p.close()
	c, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return c.Read(hasEnded)
}

// stop ends wait, now or when it begins. It never blocks.
func (p *initProcess) stop() {
	// It fails if the process has ended, which is as well.
	_ = p.pidfd.SetReadDeadline(time.Unix(1, 0))
}

func (p *initProcess) close() { _ = p.pidfd.Close() }

// hasEnded reports whether the process of a pidfd has: only then it can be
// read from, so to say.
func hasEnded(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
		}
	}
}
