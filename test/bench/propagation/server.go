package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// The rack, and the app of the containers that are measured.
const (
	rack = "bench"
	zone = rack + ".convox."
	app  = "propagation"
)

// server is a `rackdns standalone`.
type server struct {
	cmd          *exec.Cmd
	exited       chan struct{}
	log          *os.File
	dns, metrics string
}

func startServer(ctx context.Context, bin, host, dir string) (*server, error) {
	var addresses [2]string
	for n := range addresses {
		var err error
		if addresses[n], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s := &server{exited: make(chan struct{}), log: log, dns: addresses[0], metrics: addresses[1]}
	args := []string{
		"standalone", "--rack", rack, "--data", filepath.Join(dir, "data"),
		"--dns", s.dns, "--http", s.metrics,
	}
	if host != "" {
		args = append(args, "--docker", host)
	}
	s.cmd = exec.Command(bin, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	if err := s.up(ctx); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// up waits until the server answers.
func (s *server) up(ctx context.Context) error {
	for begun := time.Now(); time.Since(begun) < time.Minute; {
		select {
		case <-s.exited:
			said, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("%s ended:\n%s", s.cmd, said)
		default:
		}
		if reply, err := http.Get("http://" + s.metrics + "/readyz"); err == nil {
			_ = reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("rackdns is not ready within a minute")
}

func (s *server) end() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return s.log.Close()
}

// The metrics of interest.
const (
	inspect = "rackdns_agent_inspect_duration_seconds"
	commit  = "rackdns_agent_event_to_commit_seconds"
	index   = "rackdns_index_propagation_seconds"
)

// settled waits until DNS knows all names, and the dust has settled.
func (s *server) settled(ctx context.Context, names []string) error {
	begun := time.Now()
	for n := 0; n < len(names); {
		m := new(dns.Msg)
		m.SetQuestion(names[n], dns.TypeA)
		switch reply, err := dns.ExchangeContext(ctx, m, s.dns); {
		case err != nil:
			return err
		case len(reply.Answer) > 0:
			n++
			continue
		case time.Since(begun) > time.Minute:
			return fmt.Errorf("DNS doesn't know %s within a minute", names[n])
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, 2*time.Second)
}

// scrape returns all metrics, those of one name added up.
func (s *server) scrape(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(reply.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if before, labels, labelled := strings.Cut(lines.Text(), "{"); labelled {
			_, value, ok = strings.Cut(labels, "} ")
			name = before
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] += v
		}
	}
	return all, lines.Err()
}

// histogram is the sum and the count of one.
type histogram struct{ sum, count float64 }

// since returns the mean of what came since then.
func (h histogram) since(then histogram) time.Duration {
	if h.count == then.count {
		return 0
	}
	return time.Duration((h.sum - then.sum) / (h.count - then.count) * float64(time.Second))
}

type histograms struct{ inspect, commit, index histogram }

func (s *server) histograms(ctx context.Context) (histograms, error) {
	m, err := s.scrape(ctx)
	of := func(name string) histogram { return histogram{m[name+"_sum"], m[name+"_count"]} }
	return histograms{of(inspect), of(commit), of(index)}, err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
