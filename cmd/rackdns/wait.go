package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// resolverTick is how often the resolver is asked again, which asks others.
const resolverTick = 500 * time.Millisecond

// silence is how long a registry may take without a word about it.
const silence = time.Second

// lookupTimeout bounds one question to the resolver.
const lookupTimeout = 5 * time.Second

// notServing says what the command would start without.
type notServing struct{ error }

// byRegistry waits until the registry has all that is needed: itself, the own
// container if that is to say which service it is, and the dependencies.
func (x *execution) byRegistry(ctx context.Context, stderr io.Writer, given map[string]string, deadline time.Time) (*env.Input, error) {
	client, err := x.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	i, err := index.Open(index.Config{Registry: x.Config, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, usageError{err}
	}
	i.Start()
	defer func() { _ = i.Close() }()
	if err := x.firstPicture(ctx, client, i, deadline); err != nil {
		return nil, err
	}
	var in *env.Input
	if x.file != "" {
		if in, err = x.fromFile(stderr, x.app, x.service); err != nil {
			return nil, err
		}
	}
	s := i.Snapshot()
	change := func(ctx context.Context) { s, _ = i.Await(ctx, s.Index()) }
	err = x.poll(ctx, change, deadline, func() (done bool, err error) {
		if x.file != "" {
			in.Ways(s)
		} else if in, err = x.registered(s); err != nil {
			return false, err // somebody may yet declare or start it
		}
		x.complete(in, given)
		if err := x.fill(ctx, in); err != nil {
			return true, err
		}
		if missing := in.Waiting(s, in.Dependencies()); len(missing) > 0 {
			return false, notServing{fmt.Errorf("no serving instance of %s", names(missing))}
		}
		return true, nil
	})
	return in, err
}

// registered returns what the registry has of the command's service.
func (x *execution) registered(s *index.Snapshot) (*env.Input, error) {
	if x.app != "" {
		return env.FromRegistry(s, x.Rack, x.app, x.service)
	}
	own := env.InstanceOf(s, x.container)
	if own == nil {
		return nil, fmt.Errorf("rack %s has no instance %s, which is this container", x.Rack, x.container)
	}
	in, err := env.FromRegistry(s, x.Rack, own.App(), own.Service())
	if err == nil {
		in.Release = own.Release()
	}
	return in, err
}

// firstPicture waits for the index. What is in the way, if anything is, may go
// by itself until the deadline; until then it is said, then it is the error.
func (x *execution) firstPicture(ctx context.Context, client *registry.Client, i *index.Index, deadline time.Time) error {
	soon, cancel := context.WithDeadline(ctx, deadline)
	long := time.NewTimer(silence)
	defer long.Stop()
	var checks sync.WaitGroup
	checked := make(chan error, 1)
	defer func() { cancel(); checks.Wait() }()
	for waiting := true; waiting; {
		select {
		case <-i.Synced():
			return nil
		case <-long.C:
			if x.progress.said == "" {
				x.progress.say("the registry at " + strings.Join(client.Endpoints(), ", "))
			}
			checks.Go(func() { checked <- client.Check(soon) })
		case err := <-checked:
			if err != nil && soon.Err() == nil {
				x.progress.say(err.Error())
			}
			long.Reset(silence)
		case <-soon.Done():
			waiting = false
		}
	}
	if err := interrupted(ctx); err != nil {
		return err
	}
	_, err := firstSnapshot(ctx, client, i)
	return cmp.Or(interrupted(ctx), err)
}

// byResolver waits until all names have an address.
func (x *execution) byResolver(ctx context.Context, missing []env.Dependency, deadline time.Time) error {
	tick := time.NewTicker(resolverTick)
	defer tick.Stop()
	next := func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return x.poll(ctx, next, deadline, func() (bool, error) {
		missing = slices.DeleteFunc(missing, func(d env.Dependency) bool { return resolves(ctx, d.Host) })
		if len(missing) == 0 {
			return true, nil
		}
		var hosts []string
		for _, d := range missing {
			hosts = append(hosts, d.Host)
		}
		return false, notServing{fmt.Errorf("no serving instance of %s: no address of %s", names(missing), strings.Join(hosts, ", "))}
	})
}

func resolves(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	// The dot keeps the search list out of it.
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host+".")
	return err == nil && len(all) > 0
}

func names(all []env.Dependency) string {
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// poll calls look until it is done, returns an error that waiting won't mend,
// or the time is up; before each further look it waits until that may tell
// something else. Without a wait it doesn't matter what serves.
func (x *execution) poll(ctx context.Context, next func(context.Context), deadline time.Time, look func() (done bool, err error)) error {
	if x.wait <= 0 {
		_, err := look()
		var not notServing
		if errors.As(err, &not) {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		done, reason := look()
		if done {
			return reason
		}
		if err := interrupted(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("--wait %s: %w", x.wait, reason)
		}
		x.progress.say(reason.Error())
		next(ctx)
	}
}

// progress says what is waited for: on a terminal in one line that changes,
// elsewhere in a line for each change.
type progress struct {
	w        io.Writer
	terminal bool
	said     string
}

func newProgress(f *os.File) progress {
	return progress{w: f, terminal: term.IsTerminal(int(f.Fd()))}
}

func (p *progress) say(s string) {
	if s == p.said {
		return
	}
	p.said = s
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[Krackdns: waiting: %s", oneLine(s))
		return
	}
	fmt.Fprintln(p.w, "rackdns: waiting:", oneLine(s))
}

// end leaves an empty line behind.
func (p *progress) end() {
	if p.terminal && p.said != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
