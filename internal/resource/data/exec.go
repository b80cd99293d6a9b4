// Package data gets at what lies in the volume of a resource, through the
// container that has it: which server wrote it, its password, its dumps.
package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/rackdns/rackdns/internal/resource"
)

// ExitError says that a command in a container has failed, with the last thing
// that it said.
type ExitError struct {
	Program string
	Code    int
	Said    string
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Said == "" {
		return fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
	}
	return fmt.Sprintf("%s: %s", e.Program, e.Said)
}

// run runs a command in a container. What it reads is in, or else the command's
// own input; what it prints goes to out.
func run(ctx context.Context, docker *client.Client, id string, c resource.Command, in io.Reader, out io.Writer) error {
	if in == nil {
		in = strings.NewReader(c.Input)
	}
	made, err := docker.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: c.Args, Env: c.Env, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	conn, err := docker.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	// The connection knows nothing of ctx.
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn.Conn, in)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	said := &lastLine{}
	_, err = stdcopy.StdCopy(out, said, conn.Reader)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		<-sent //nolint:errcheck // its connection was closed under it
		return err
	}
	is, err := docker.ContainerExecInspect(ctx, made.ID)
	switch {
	case err != nil:
	case is.ExitCode != 0:
		err = &ExitError{Program: program(c.Args), Code: is.ExitCode, Said: said.String()}
	default:
		select {
		case err := <-sent:
			return err
		default:
		}
	}
	// Whatever is still to be sent, nobody reads it.
	conn.Close()
	<-sent //nolint:errcheck // its connection was closed under it
	return err
}

// program is what a command is, as errors name it.
func program(args []string) string {
	if len(args) > 0 && args[0] == "sh" {
		return "its client"
	}
	return args[0]
}

// lastLine keeps the last line with something in it, of what may be much.
type lastLine struct{ last, open string }

const longestLine = 1 << 10

// Write implements io.Writer.
func (l *lastLine) Write(p []byte) (int, error) {
	lines := strings.Split(l.open+string(p), "\n")
	for _, line := range lines[:len(lines)-1] {
		if line = strings.TrimSpace(line); line != "" {
			l.last = line[:min(len(line), longestLine)]
		}
	}
	l.open = lines[len(lines)-1]
	l.open = l.open[:min(len(l.open), longestLine)]
	return len(p), nil
}

// String returns it.
func (l *lastLine) String() string {
	if open := strings.TrimSpace(l.open); open != "" {
		return open
	}
	return l.last
}
