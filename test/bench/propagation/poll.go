package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// patience is how long an answer may take to come or go.
const patience = 10 * time.Second

// quiet is how long a name has to be gone to be gone.
const quiet = 100 * time.Millisecond

// poll asks for one name all the time.
type poll struct {
	conn net.Conn
	pace time.Duration
	stop context.CancelFunc
	done chan struct{}

	mu sync.Mutex
	// begun and ended are when the first and the last answer came, empty when
	// the last reply without one came.
	begun, ended, empty time.Time
	err                 error
}

func startPoll(ctx context.Context, server, name string, pace time.Duration) (*poll, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeSRV)
	query, err := m.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	p := &poll{conn: conn, pace: pace, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = p.ask(ctx, query)
	}()
	return p, nil
}

// ask asks until ctx ends. It reads no more of a reply than its header.
func (p *poll) ask(ctx context.Context, query []byte) error {
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	buf := make([]byte, dns.MaxMsgSize)
	for id := uint16(0); ; id++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		binary.BigEndian.PutUint16(query, id)
		if err := p.conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err := p.conn.Write(query); err != nil {
			return err
		}
		n, err := p.conn.Read(buf)
		if err != nil {
			return err
		}
		if n < 12 || binary.BigEndian.Uint16(buf) != id {
			return errors.New("a reply to something else")
		}
		p.note(binary.BigEndian.Uint16(buf[6:]) > 0, time.Now())
	}
}

func (p *poll) note(answered bool, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !answered:
		p.empty = at
		return
	case p.begun.IsZero():
		p.begun = at
	}
	p.ended = at
}

// first waits for the first answer and returns when it came.
func (p *poll) first(ctx context.Context) (time.Time, error) {
	return p.await(ctx, func() (time.Time, bool) { return p.begun, !p.begun.IsZero() })
}

// last waits until there is no answer any more, and returns when the last came.
func (p *poll) last(ctx context.Context) (time.Time, error) {
	return p.await(ctx, func() (time.Time, bool) { return p.ended, p.empty.Sub(p.ended) > quiet })
}

func (p *poll) await(ctx context.Context, reached func() (time.Time, bool)) (time.Time, error) {
	for begun := time.Now(); time.Since(begun) < patience; {
		p.mu.Lock()
		at, ok := reached()
		p.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-p.done:
			return time.Time{}, fmt.Errorf("asking: %w", errors.Join(p.err, ctx.Err()))
		default:
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, fmt.Errorf("DNS doesn't show it within %s", patience)
}

func (p *poll) end() {
	p.stop()
	<-p.done
	_ = p.conn.Close()
}
