package env

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/manifest"
)

// FuzzFile reads any text as a .env file. What comes out can be an environment,
// an error names file and line and nothing of what is there, and what was read
// is read again from what we write of it.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"", "A=1\n", "\ufeffA=1\r\nexport B='x y' # why\n\n# nothing\nC=\"a\\n\\\"b\\\\\\$\"\n", "A='one\ntwo'\nB=2",
		"A=\"\\", "A='", "=1", "A", "export\t_A=1", "A=\x00", "A=\xff", "A='x'y", "A=1\nA=2", "A=\"\\q\\\n\"", "A= x \t\r\r\n", "exportA=1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "zzsecretzz"
		if _, err := parseFile("x.env", text+"\n"+secret); err == nil {
			// Every text can be followed by a line that is none, unless a quote
			// or a comment swallows it.
			if !strings.ContainsAny(text, "'\"#") {
				t.Errorf("%q: a line without = passes", text)
			}
		} else if strings.Contains(err.Error(), secret) || !strings.HasPrefix(err.Error(), "x.env:") || strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("%q: %v", text, err)
		}
		read, err := parseFile("x.env", text)
		if err != nil {
			return
		}
		var all []Variable
		for name, value := range read {
			if !manifest.IsVariable(name) || strings.Contains(value, "\x00") {
				t.Errorf("%q: %q=%q can't be in an environment", text, name, value)
			}
			all = append(all, Variable{Name: name, Value: value})
		}
		out, err := Encode(Dotenv, all)
		if err != nil {
			t.Fatalf("%q: %v", read, err)
		}
		again, err := parseFile("x.env", string(out))
		if err != nil {
			t.Fatalf("%q is written as %q: %v", read, out, err)
		}
		if diff := cmp.Diff(read, again); diff != "" {
			t.Errorf("written as %q (-read +again):\n%s", out, diff)
		}
	})
}

// TestFileLimit reads what is too large for an environment.
func TestFileLimit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	for size, ok := range map[int]bool{maxFile: true, maxFile + 1: false} {
		if err := os.WriteFile(path, []byte("A="+strings.Repeat("x", size-2)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
