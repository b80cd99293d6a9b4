package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
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

// untilSignal returns a context that ends with a signalError, unlike that of
// signal.NotifyContext: only which signal it was makes the exit code.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
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

// interrupted returns the signal that ended a context, nil if none did.
func interrupted(ctx context.Context) error {
	var s signalError
	if errors.As(context.Cause(ctx), &s) {
		return s
	}
	return nil
}
