// Package liveness ends the processes of a container that is not alive any more,
// from inside: the engine knows one health check for a container, and restarts
// none for failing it.
package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Check is a check of a container by itself.
type Check struct {
	// Probe returns an error if it is not alive.
	Probe func(ctx context.Context) error
	// Grace is how long after the container's start a failure doesn't count,
	// Failures after how many in a row its processes are ended.
	Grace    time.Duration
	Failures int
	// Dir keeps the count from one check to the next: the container's own shared
	// memory, which can be written also where its files can't, and begins anew
	// with each start. Age returns for how long the container has run, End ends
	// its processes.
	Dir string
	Age func() (time.Duration, error)
	End func() error
}

// countFile is in the check's directory.
const countFile = ".rackdns-liveness"

// Dir is where every container has memory of its own.
const Dir = "/dev/shm"

// Run checks once. Whoever is not alive for too long is ended.
func (c Check) Run(ctx context.Context) error {
	file := filepath.Join(c.Dir, countFile)
	err := c.Probe(ctx)
	if err == nil {
		if e := os.Remove(file); e != nil && !errors.Is(e, os.ErrNotExist) {
			return e
		}
		return nil
	}
	err = fmt.Errorf("liveness: %w", err)
	age, e := c.Age()
	if e != nil {
		return errors.Join(err, e)
	}
	if age < c.Grace {
		return err
	}
	text, _ := os.ReadFile(file) // what isn't there or isn't ours is none
	count, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	count++
	if count < c.Failures {
		return errors.Join(err, os.WriteFile(file, []byte(strconv.Itoa(count)), 0o600))
	}
	return errors.Join(err, c.End())
}

// End kills all processes but the first one, which can't be killed from inside,
// and this one. A small init ends with the process that it has started, and then
// the engine starts the container again.
func End() error { return syscall.Kill(-1, syscall.SIGKILL) }

const (
	// ticks is how many parts of a second the kernel counts in, on all of Linux'
	// machines that this program is built for.
	ticks = 100
	// startTime is the place of a process's start in /proc/PID/stat, behind its
	// name, which may have spaces.
	startTime = 19
)

// Age returns for how long the first process has run.
func Age() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return 0, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	return age(string(stat), string(uptime))
}

func age(stat, uptime string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	up, _, _ := strings.Cut(uptime, " ")
	now, err := strconv.ParseFloat(strings.TrimSpace(up), 64)
	if err != nil || len(fields) <= startTime {
		return 0, errors.New("/proc doesn't say when the container has started")
	}
	started, err := strconv.ParseFloat(fields[startTime], 64)
	if err != nil {
		return 0, err
	}
	return time.Duration((now - started/ticks) * float64(time.Second)).Round(time.Second / ticks), nil
}
