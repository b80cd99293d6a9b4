package rack_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestManuals starts every Corefile that the manuals of our plugins show, on
// a free port and over a real registry, and asks for a service.
func TestManuals(t *testing.T) {
	t.Parallel()
	s := newStore(t, "acme")
	s.put(web(1))
	corefiles := regexp.MustCompile("(?s)~~~ corefile\n(.*?)\n~~~")
	keys := regexp.MustCompile(`(?m)^([a-z0-9.-]+(?: [a-z0-9.-]+)*) \{$`)
	etcd := regexp.MustCompile(`etcd http.*`)
	for _, manual := range []string{"README.md", filepath.Join("..", "shortname", "README.md"), filepath.Join("..", "recursion", "README.md")} {
		text, err := os.ReadFile(manual)
		if err != nil {
			t.Fatal(err)
		}
		checkSections(t, manual, string(text))
		found := corefiles.FindAllStringSubmatch(string(text), -1)
		if len(found) < 2 {
			t.Errorf("%s shows %d Corefiles", manual, len(found))
		}
		for _, f := range found {
			t.Run(manual+": "+f[1], func(t *testing.T) {
				t.Parallel()
				corefile := keys.ReplaceAllStringFunc(f[1], func(line string) string {
					zones := strings.Fields(strings.TrimSuffix(line, " {"))
					return strings.Join(zones, ":0 ") + ":0 {\n    bind 127.0.0.1"
				})
				// The registry of the test is elsewhere.
				corefile = etcd.ReplaceAllString(corefile, "etcd "+s.url)
				if !strings.Contains(corefile, "etcd ") {
					corefile = regexp.MustCompile(`(?m)^(    rack[^{\n]*)( \{)?$`).ReplaceAllStringFunc(corefile, func(line string) string {
						if rest, ok := strings.CutSuffix(line, " {"); ok {
							return rest + " {\n        etcd " + s.url
						}
						return line + " {\n        etcd " + s.url + "\n    }"
					})
				}
				corefile = regexp.MustCompile(`(prometheus|ready) localhost:\d+`).ReplaceAllString(corefile, "$1 127.0.0.1:0")
				d := serve(t, corefile)
				d.says(t, name, "10.1.0.1")
				if strings.Contains(corefile, "shortname") {
					if strings.Contains(corefile, "namespaces shop") {
						d.says(t, "web.shop.", "10.1.0.1")
					}
					if m := d.ask(t, "web.acme.convox.", dns.TypeA); m.Rcode != dns.RcodeNameError {
						t.Errorf("web.acme.convox.: %v", m)
					}
				}
			})
		}
	}
}

// checkSections wants the form of CoreDNS's own manuals.
func checkSections(t *testing.T, manual, text string) {
	t.Helper()
	at := 0
	for _, section := range []string{"Name", "Description", "Syntax", "Metrics", "Ready", "Metadata", "Examples", "Bugs", "See Also"} {
		next := strings.Index(text[at:], "\n## "+section+"\n")
		if next < 0 {
			t.Errorf("%s: section %s is missing or out of order", manual, section)
			continue
		}
		at += next
	}
}
