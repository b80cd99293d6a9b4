package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// closePatience is how long the member may take to close its files. It ends
// after that, as it would by SIGKILL, which etcd's data survives.
const closePatience = 8 * time.Second

// message is what the child says to its parent, one line of JSON on stdout.
type message struct {
	// Ready says that the member serves.
	Ready bool `json:"ready,omitempty"`
	// Error is why it doesn't; InUse is the address if that is the cause.
	Error string `json:"error,omitempty"`
	InUse string `json:"in_use,omitempty"`
}

// errByHand is what somebody gets who starts the child.
var errByHand = errors.New("it is started by rackdns standalone, not by hand")

// RunChild is the child's whole life: it reads its Config from stdin, runs the
// member, and ends it when stdin ends, which it does with the parent, whatever
// becomes of that. Signals are the parent's business: a terminal and a service
// manager send them to both, but the agent writes to the registry until its end.
func RunChild() error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return errByHand
	}
	control := bufio.NewReader(os.Stdin)
	var cfg Config
	line, err := control.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &cfg) != nil || cfg.Socket == "" {
		return errByHand
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, control) // ends with the parent, by EOF
		cancel()
		// Files that hang must not keep the directory locked for ever.
		time.AfterFunc(closePatience, func() { os.Exit(1) })
	}()
	// Nobody else may connect to the socket, not even before its mode is set.
	syscall.Umask(0o077)
	dieFirst()
	return serve(ctx, cfg, json.NewEncoder(os.Stdout))
}

// serve runs the member until ctx ends, or it does.
func serve(ctx context.Context, cfg Config, parent *json.Encoder) error {
	level := zap.NewAtomicLevelAt(zap.ErrorLevel)
	log := newLogger(level)
	m, err := startMember(ctx, cfg, log, level)
	if err != nil {
		said := message{Error: err.Error()}
		var inUse *InUseError
		if errors.As(err, &inUse) {
			said.InUse = inUse.Address
		}
		return parent.Encode(said)
	}
	defer m.close()
	u := upkeep{etcd: m.etcd.Server, quota: quota}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() { defer close(done); u.run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := parent.Encode(message{Ready: true}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-m.etcd.Err():
		return parent.Encode(message{Error: err.Error()})
	}
}

// newLogger returns what etcd logs with: only what needs somebody's attention,
// a line of JSON each, which the parent reads.
func newLogger(level zap.AtomicLevel) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.CallerKey, c.StacktraceKey = "", "", ""
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), zapcore.Lock(os.Stderr), level))
}

// dieFirst makes the kernel choose this process before the one that answers
// DNS when memory runs out.
func dieFirst() {
	const adjustment = 500 // of -1000 to 1000, see proc_pid_oom_score_adj(5)
	// Where it isn't permitted, the kernel chooses as it does.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(adjustment)), 0o600)
}
