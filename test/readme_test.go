package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// guide are README.md and the pages that it leads to, in the order in which they are
// to be read.
func guide(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, page := range []string{"README.md", "docs/start.md", "docs/names.md", "docs/using.md", "docs/operating.md"} {
		text, err := os.ReadFile(filepath.Join(repository(), page))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// readme returns the blocks of the guide that are marked as being of a kind.
func readme(t *testing.T, kind string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(guide(t), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("neither README.md nor its pages have a block of kind %s", kind)
	}
	return blocks
}

// No link of README.md or of a page leads nowhere, and every page is led to.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(repository(), "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	linked := map[string]bool{}
	for _, page := range append(pages, filepath.Join(repository(), "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			to := filepath.Join(filepath.Dir(page), m[1])
			linked[to] = true
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s leads to %s: %v", page, m[1], err)
			}
		}
	}
	for _, page := range pages {
		if !linked[page] {
			t.Errorf("nothing leads to %s", page)
		}
	}
}

// step is a command of a transcript and what it prints.
type step struct {
	command string
	prints  []string
}

func steps(transcript string) []step {
	var all []step
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, step{command: command})
			continue
		}
		last := &all[len(all)-1]
		last.prints = append(last.prints, line)
	}
	return all
}

// The transcript of README.md, typed into one shell, beside a rack that runs on
// the defaults of `make run` but for its ports and its data.
func TestReadmeTranscript(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "dig", "docker", "make"} {
		needTool(t, tool)
	}
	engine(t)
	r := newRack(t, nil, "--rack", "local")
	r.zone = "local.convox."
	r.start()
	app, ref := unique("shop"), "rackdns-test-example:"+runID
	instead := strings.NewReplacer(
		"-p 1053", "-p "+portOf(t, r.dns),
		"rackdns-example", ref,
		"make test-image", "make test-image TEST_IMAGE="+ref,
		"docker run -d", "docker run -d -l "+label+"="+runID,
		"app=shop", "app="+app, "web.shop.", "web."+app+".",
	)
	sh := newShell(t)
	t.Cleanup(func() { sh.run(`docker rm -f $web1 $web2 >/dev/null`) })
	blocks := readme(t, "console")
	names := map[string]string{}
	for _, s := range steps(blocks[0]) {
		command := instead.Replace(s.command)
		for n := range s.prints {
			s.prints[n] = instead.Replace(s.prints[n])
		}
		if !strings.HasPrefix(command, "ask ") && !strings.HasPrefix(command, "curl ") {
			sh.run(command)
			continue
		}
		eventually(t, s.command, func() error { return likewise(names, s.prints, sh.run(command)) })
	}
	if len(names) != 2 {
		t.Errorf("the transcript shows %d containers, want two", len(names))
	}
}

var (
	containerIDs = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
	secondTarget = regexp.MustCompile(` [0-9a-f]+-[0-9a-f-]+\.[0-9a-f]{12}\.`)
	ipv4         = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`)
	somePort     = regexp.MustCompile(`\b\d{5}\b`)
)

// likewise compares what a command printed with what README.md shows: the same
// but for the order, the addresses and the ports. One container there is one
// here; names remembers which, as soon as a single line tells.
func likewise(names map[string]string, want, got []string) error {
	// A host that has an IPv6 address, too, and whose engine has chosen another
	// port there, tells of a second target.
	got = slices.DeleteFunc(got, secondTarget.MatchString)
	if len(want) == 1 && len(got) == 1 {
		if w, g := containerIDs.FindString(want[0]), containerIDs.FindString(got[0]); names[w] == "" && g != "" {
			names[w] = g
		}
	}
	plain := func(lines []string, rename bool) []string {
		all := append([]string{}, lines...)
		for n, line := range all {
			line = containerIDs.ReplaceAllStringFunc(line, func(id string) string {
				switch {
				case len(lines) > 1:
					return "CONTAINER"
				case rename:
					return names[id]
				}
				return id
			})
			all[n] = somePort.ReplaceAllString(ipv4.ReplaceAllString(line, "ADDRESS"), "PORT")
		}
		slices.Sort(all)
		return all
	}
	if diff := cmp.Diff(plain(want, true), plain(got, false)); diff != "" {
		return fmt.Errorf("(-README +here):\n%s", diff)
	}
	return nil
}

// shell is a bash that takes one command after the other.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func newShell(t *testing.T) *shell {
	t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir = repository()
	cmd.Env = append(os.Environ(), "RACKDNS_TRIAL=1s")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("bash: %v", err)
		}
	})
	return &shell{t: t, in: in, out: bufio.NewScanner(out)}
}

// run returns what a command prints, and demands that it succeeds.
func (s *shell) run(command string) []string {
	s.t.Helper()
	const end = "--- ended with "
	if _, err := fmt.Fprintf(s.in, "%s\necho; echo '%s'$?\n", command, end); err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for s.out.Scan() {
		code, ended := strings.CutPrefix(s.out.Text(), end)
		if !ended {
			lines = append(lines, s.out.Text())
			continue
		}
		if code != "0" {
			s.t.Fatalf("%s\n%s\nended with %s", command, strings.Join(lines, "\n"), code)
		}
		return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	}
	s.t.Fatalf("%s: the shell ended: %v", command, s.out.Err())
	return nil
}

// What the guide says of the command line, of the Corefile and of metrics is
// there.
func TestReadmeNames(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.Join(readme(t, "sh"), "\n"), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "rackdns" || words[1] == "dns" {
			continue
		}
		// Up to the flags, since a subcommand has its own.
		args := words[1:]
		if end := slices.IndexFunc(args, func(w string) bool { return strings.HasPrefix(w, "-") || w == "|" || w == "#" }); end >= 0 {
			args = args[:end]
		}
		help, _, code := completed(t, command(t, append(slices.Clone(args), "--help")...))
		if code != 0 {
			t.Errorf("%s --help: exit code %d", strings.Join(args, " "), code)
		}
		for _, w := range words[2:] {
			if strings.HasPrefix(w, "--") && !strings.Contains(help, w+" ") {
				t.Errorf("%s: there is no flag %s", line, w)
			}
		}
	}

	etcd := etcdtest.Start(t, 1, nil)
	r := newReplica(t, "acme", etcd.Endpoints())
	text := strings.NewReplacer("http://10.0.2.5:2379", etcd.Endpoints()[0], "127.0.0.1 172.17.0.1", "127.0.0.1",
		"acme.convox {", "acme.convox:"+portOf(t, r.server)+" {", ". {", ".:"+portOf(t, r.server)+" {",
		"127.0.0.1:9153", r.metrics).Replace(readme(t, "corefile")[0])
	r.rewrite(text)
	r.process = launch(t, "dns", "-conf", r.conf)
	ready(t, r.process, r.server, r.zone)
	newLedger(t, etcd, r.rack).put(entrant("shop", "a1", 41001))
	eventually(t, "an answer", func() error { return resolvesTo(r.server, "web.shop."+r.zone, hosted) })
	whole := guide(t)
	body, err := get("http://" + r.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	at := etcdtest.FreeAddr(t)
	startRack(t, nil, "--docker", "off", "--http", at)
	embedded, err := get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body = append(body, embedded...)
	for _, name := range regexp.MustCompile("`(rackdns_[a-z_]+)`").FindAllStringSubmatch(whole, -1) {
		// A histogram has no series before something happened.
		if !strings.Contains(string(body), name[1]) && !strings.Contains(name[1], "propagation") {
			t.Errorf("there is no metric %s", name[1])
		}
	}
}
