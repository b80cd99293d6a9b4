package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"time"
)

// Latency returns how long a read takes that most members have to agree on: the
// median of several.
func (c *Client) Latency(ctx context.Context) (time.Duration, error) {
	var took []time.Duration
	for range 5 {
		start := time.Now()
		if err := c.Check(ctx); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// ErrNoClock says that none of the members tells the time.
var ErrNoClock = errors.New("etcd doesn't tell the time")

// ClockAhead returns by how much the clock of a member is ahead of ours, as far as
// that can be known: HTTP has the time in whole seconds, and the answer was under
// way. What is within that counts as none. It is [ErrNoClock] where no member
// speaks HTTP; a socket leads to a process with our clock.
func (c *Client) ClockAhead(ctx context.Context) (ahead time.Duration, endpoint string, err error) {
	if c.Access().Socket {
		return 0, c.cfg.Endpoints[0], nil
	}
	var secure *tls.Config
	if c.trust != nil {
		if secure, err = tlsConfig(c.cfg); err != nil {
			return 0, "", err
		}
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}, Timeout: memberTimeout}
	for _, endpoint := range c.cfg.Endpoints {
		ahead, err := clockAhead(ctx, &client, endpoint)
		if err == nil {
			return ahead, endpoint, nil
		}
	}
	return 0, "", ErrNoClock
}

func clockAhead(ctx context.Context, client *http.Client, endpoint string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/version", http.NoBody)
	if err != nil {
		return 0, err
	}
	before := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	after := time.Now()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, ErrNoClock
	}
	return apart(theirs, before, after), nil
}

// apart returns by how much a clock is ahead that said theirs, in whole seconds,
// at some moment between before and after of ours.
func apart(theirs, before, after time.Time) time.Duration {
	switch first, last := theirs.Sub(after), theirs.Add(time.Second).Sub(before); {
	case first > 0:
		return first
	case last < 0:
		return last
	}
	return 0
}
