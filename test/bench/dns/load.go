package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The questions that are asked.
const (
	kindA        = "A"
	kindSRV      = "SRV"
	kindNoData   = "NODATA"
	kindNXDomain = "NXDOMAIN"
)

// maxQueries bounds a file of queries; dnsperf begins again at its end.
const maxQueries = 20000

// queries writes the file of questions for a server.
func (b *bench) queries(s *server, kind string) (string, error) {
	qtype, prefix := "A", ""
	switch kind {
	case kindSRV:
		qtype = "SRV"
	case kindNoData:
		qtype = "AAAA"
	case kindNXDomain:
		prefix = "no"
	}
	var text bytes.Buffer
	step := max(s.services/maxQueries, 1)
	for n := 0; n < s.services; n += step {
		fmt.Fprintf(&text, "%s%s.%s %s\n", prefix, serviceName(n), s.zone, qtype)
	}
	path := filepath.Join(b.dir, s.name+"-"+kind)
	return path, os.WriteFile(path, text.Bytes(), 0o600)
}

var (
	completedLine = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lostLine      = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	codesLine     = regexp.MustCompile(`Response codes:\s+(.*)`)
)

// dnsperf returns how many queries were answered, each as it should be.
func dnsperf(ctx context.Context, port int, file string, args ...string) (queries int, err error) {
	out, err := runDNSperf(ctx, port, file, args...)
	if err != nil {
		return 0, err
	}
	completed, lost, codes := completedLine.FindSubmatch(out), lostLine.FindSubmatch(out), codesLine.FindSubmatch(out)
	if completed == nil || lost == nil || codes == nil {
		return 0, fmt.Errorf("dnsperf said something else:\n%s", out)
	}
	if queries, err = strconv.Atoi(string(completed[1])); err != nil {
		return 0, err
	}
	want := "NOERROR"
	if strings.HasSuffix(file, kindNXDomain) {
		want = "NXDOMAIN"
	}
	if !bytes.HasPrefix(codes[1], []byte(want)) || bytes.Contains(codes[1], []byte(",")) || queries == 0 {
		return 0, fmt.Errorf("%s lost, codes %s; want %s alone", lost[1], codes[1], want)
	}
	return queries, nil
}

func runDNSperf(ctx context.Context, port int, file string, args ...string) ([]byte, error) {
	args = append([]string{"-s", "127.0.0.1", "-p", strconv.Itoa(port), "-d", file, "-e", "-c", "10", "-q", "100"}, args...)
	out, err := exec.CommandContext(ctx, "dnsperf", args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("dnsperf: %w: %s", err, exit.Stderr)
	}
	return out, err
}

// latencies asks at a steady rate and returns how long each answer took.
func latencies(ctx context.Context, port int, file string, qps int, length time.Duration) ([]time.Duration, error) {
	out, err := runDNSperf(ctx, port, file, "-v", "-Q", strconv.Itoa(qps), "-l", fmt.Sprint(length.Seconds()))
	if err != nil {
		return nil, err
	}
	var all []time.Duration
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		// > NOERROR web.shop.acme.convox A 0.000123
		f := strings.Fields(lines.Text())
		if len(f) != 5 || f[0] != ">" {
			continue
		}
		seconds, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return nil, fmt.Errorf("dnsperf said %q: %w", lines.Text(), err)
		}
		all = append(all, time.Duration(seconds*float64(time.Second)))
	}
	if len(all) == 0 {
		return nil, errors.New("dnsperf reports no answers")
	}
	return all, nil
}

// clockTick is the unit of CPU time in /proc, 100 to the second on Linux.
const clockTick = 10 * time.Millisecond

// cpuOf returns the CPU time that processes have taken so far.
func cpuOf(pids []int) (time.Duration, error) {
	total := time.Duration(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The name of the program, in brackets, may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, f := range fields[11:13] {
			n, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			total += time.Duration(n) * clockTick
		}
	}
	return total, nil
}
