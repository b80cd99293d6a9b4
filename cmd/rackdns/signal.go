package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// signalError is the end by a signal.
type signalError struct{ os.Signal }

// Error names the signal.
func (e signalError) Error() string { return "ended by signal: " + e.String() }

// ExitCode is the one that shells give to the end by a signal.
func (e signalError) ExitCode() int {
	if s, ok := e.Signal.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return exitFailed
}

// What a signal does, in every command. Those that aren't here do what they do
// in any program of Go's: SIGQUIT ends it at once, with the stacks of all that it
// was doing (dns ends in CoreDNS's way, without them).
var (
	// ends are those that have a command clean up and end: with exit code 0 if it
	// was to run until then, else with that of the signal.
	ends = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	// reloads have dns read its Corefile again. Nothing else has anything to
	// reload that it doesn't follow by itself, and a terminal that is closed, or a
	// log rotation that signals all it finds, is no reason to end.
	reloads = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}
	// ignored are those that mean nothing.
	ignored = []os.Signal{syscall.SIGUSR2}
	// unheard are what a command that serves ignores as well: that nobody reads
	// its output any more. Others end by it, as in rackdns ps | head -1.
	unheard = []os.Signal{syscall.SIGPIPE}
)

// untilSignal returns a context that ends with a signalError, unlike that of
// signal.NotifyContext: only which signal it was makes the exit code.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, ends...)
	heed(reloads, nil)
	heed(ignored, nil)
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			cancel(signalError{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}

// heed calls f for signals as they come, until the process ends, or does nothing
// of what they would do otherwise. It doesn't ignore them as the kernel has it,
// since exec would hand that on to what it starts; what it was started with, by
// nohup, it hands on.
func heed(signals []os.Signal, f func()) {
	signals = slices.DeleteFunc(slices.Clone(signals), func(s os.Signal) bool { return f == nil && signal.Ignored(s) })
	if len(signals) == 0 {
		return
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, signals...)
	go func() {
		for range c {
			if f != nil {
				f()
			}
		}
	}()
}

// serving is for a command that runs until it is told to end.
func serving() { heed(unheard, nil) }

// interrupted returns the signal that ended a context, nil if none did.
func interrupted(ctx context.Context) error {
	var s signalError
	if errors.As(context.Cause(ctx), &s) {
		return s
	}
	return nil
}
