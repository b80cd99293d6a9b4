package probe_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/probe"
)

// serve answers each line that has a key of replies, and returns where.
func serve(t *testing.T, replies map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for in := bufio.NewScanner(c); in.Scan(); {
					if reply, ok := replies[in.Text()]; ok {
						_, _ = c.Write([]byte(reply + "\r\n"))
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestProbe(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(web.Close)
	env := map[string]string{"REDIS_PASSWORD": "s3cret"}
	open := serve(t, map[string]string{"PING": "+PONG", "s3cret": "+OK"})
	for _, tc := range []struct {
		name, target string
		env          map[string]string
		want         string
	}{
		{"http", web.URL + "/good", nil, ""},
		{"http with an error", web.URL + "/bad", nil, "418"},
		{"tcp", "tcp://" + strings.TrimPrefix(web.URL, "http://"), nil, ""},
		{"redis", "redis://" + open, nil, ""},
		{"redis with a password", "redis://" + open, env, ""},
		{"redis that has another", "redis://" + serve(t, map[string]string{"s3cret": "-WRONGPASS no"}), env, "AUTH: -WRONGPASS no"},
		{"redis that wants one", "redis://" + serve(t, map[string]string{"PING": "-NOAUTH no"}), nil, "PING: -NOAUTH no"},
		{"redis that reads its data", "redis://" + serve(t, map[string]string{"PING": "-LOADING wait"}), nil, "PING: -LOADING wait"},
		{"memcached", "memcached://" + serve(t, map[string]string{"version": "VERSION 1.6.18"}), nil, ""},
		{"something else than memcached", "memcached://" + serve(t, map[string]string{"version": "ERROR"}), nil, "version: ERROR"},
		{"something else than postgres", "postgres://me@" + open + "/app", nil, "connect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err := probe.Probe(ctx, tc.target, func(name string) string { return tc.env[name] })
			if err == nil && tc.want != "" || err != nil && (tc.want == "" || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Error("the error has the password")
			}
		})
	}
	for _, target := range []string{"ftp://x", "%zz"} {
		if err := probe.Probe(t.Context(), target, func(string) string { return "" }); !errors.Is(err, probe.ErrTarget) {
			t.Errorf("%s: error %v", target, err)
		}
	}
}
