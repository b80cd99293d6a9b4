package manifest_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/manifest"
)

var update = flag.Bool("update", false, "write the table of keys into the documentation")

// around is what a key needs besides itself, by where it stands: the rest of a
// file, with a place for the key.
func around(k manifest.Key) string {
	path, name := "", k.Path
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		path, name = name[:i], name[i+1:]
	}
	entry := name + ": " + k.Example
	const web = "services: {web: {image: a, port: 80}}\n"
	wrap := func(format string) string { return fmt.Sprintf(format, entry) + "\n" }
	switch path {
	case "":
		if name == "services" {
			return entry + "\n"
		}
		return web + entry + "\n"
	case "resources.*":
		return web + wrap("resources: {db: {"+map[bool]string{true: "type: redis, ", false: ""}[name != "type"]+"%s}}")
	case "timers.*":
		given := ""
		for _, need := range []string{"service: web", "schedule: '0 0 * * *'"} {
			if !strings.HasPrefix(need, name+":") {
				given += need + ", "
			}
		}
		return web + wrap("timers: {clean: {"+given+"%s}}")
	}
	inner := "%s"
	switch rest := strings.TrimPrefix(strings.TrimPrefix(path, "services.*"), "."); rest {
	case "":
	case "ports":
		inner = "ports: [{" + map[bool]string{true: "port: 1, ", false: ""}[name != "port"] + "%s}]"
	case "port":
		inner = "port: {" + map[bool]string{true: "port: 1, ", false: ""}[name != "port"] + "%s}"
	case "liveness":
		inner = "liveness: {" + map[bool]string{true: "path: /, ", false: ""}[name != "path"] + "%s}"
	case "scale.count", "scale.limit":
		inner = "scale: {" + strings.TrimPrefix(rest, "scale.") + ": {%s}}"
	case "volumeOptions":
		inner = "volumeOptions: [{%s}]"
	case "volumeOptions.emptyDir", "volumeOptions.awsEfs":
		given := ""
		for _, need := range []string{"id: a", "mountPath: /a"} {
			if !strings.HasPrefix(need, name+":") {
				given += need + ", "
			}
		}
		inner = "volumeOptions: [{" + strings.TrimPrefix(rest, "volumeOptions.") + ": {" + given + "%s}}]"
	default:
		inner = rest + ": {%s}"
	}
	given := ""
	if k.Path != "services.*.image" && k.Path != "services.*.build" && !strings.HasPrefix(k.Path, "services.*.build.") {
		given += "image: a, "
	}
	if name != "port" || path == "services.*.ports" {
		if path != "services.*.port" {
			given += "port: 80, "
		}
	}
	extra := ""
	if strings.Contains(k.Example, "db") {
		extra = "resources: {db: {type: redis}}\n"
	}
	return wrap("services: {web: {"+given+inner+"}}") + extra
}

// Every key of the table is read as the table says.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, k := range manifest.Keys() {
		t.Run(k.Path, func(t *testing.T) {
			t.Parallel()
			file := around(k)
			name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
			m, err := manifest.Parse("convox.yml", []byte(file))
			if k.Fate == manifest.Refused {
				if err == nil || !strings.HasSuffix(err.Error(), name+": "+k.Note) {
					t.Errorf("%v\nwant that it is refused: %s\nof\n%s", err, k.Note, file)
				}
				return
			}
			if err != nil || len(m.Warnings) > 0 {
				t.Fatalf("%v, warnings %v\nof\n%s", err, m, file)
			}
			// The example of a done key may hold ignored ones.
			ignored := slices.ContainsFunc(m.Ignored, func(i manifest.IgnoredKey) bool {
				return i.Key == name && strings.HasSuffix(i.Line, name+": has no effect: "+k.Note)
			})
			if ignored != (k.Fate == manifest.Ignored) {
				t.Errorf("ignored: %v, want that it is %s\nof\n%s", m.Ignored, k.Fate, file)
			}
		})
	}
	if !slices.IsSortedFunc(manifest.Keys(), func(a, b manifest.Key) int { return cmp.Compare(a.Path, b.Path) }) {
		t.Error("the table is not sorted")
	}
}

const (
	tableBegin = "<!-- the table of keys: begin -->\n"
	tableEnd   = "<!-- the table of keys: end -->\n"
)

// table is the documentation's.
func table() string {
	var b strings.Builder
	b.WriteString("| key | version | here | for example | |\n| --- | --- | --- | --- | --- |\n")
	cell := strings.NewReplacer("|", `\|`)
	for _, k := range manifest.Keys() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s |\n", k.Path, cmp.Or(k.Versions, "rackdns"), k.Fate, cell.Replace(k.Example), cell.Replace(k.Note))
	}
	return b.String()
}

// The documentation's table is the parser's.
func TestKeysAreDocumented(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "docs", "convox-yml.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	is, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table of keys", file)
	}
	want := table()
	if is == want {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s has another table of keys than the parser: run go test ./internal/manifest -update", file)
}
