package env_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/env"
)

// allBytes is every byte that an environment can carry.
func allBytes() string {
	var b strings.Builder
	for c := 1; c < 256; c++ {
		b.WriteByte(byte(c))
	}
	return b.String()
}

// awkward are values that quoting gets wrong.
var awkward = []string{
	"", " ", " a b ", "plain-1.2_3:/,@%+?&=~", "#a", "a #b", "a#b", "=", "a=b",
	"'", "''", `"`, `'"'"'`, `\`, `\\`, `\n`, `a\`, `'\''`, `"\`, "`id`", "$(id)", "$HOME", "${HOME}", `\$HOME`,
	"\n", "a\nb\n", "\r", "a\r\nb", "a\r", "\t", "it's\nmine", "~", "~root", "*", "!", "a;b", "a&b|c>d<e", "-n", "export A=1",
	"ü€𝄞", "\xff\xfe", "\x01\x7f\x81\x88", allBytes(), "postgres://u:p'w\"d@h:5432/app?a=b&c=$d#e",
	"-----BEGIN KEY-----\nMIIE+/=\n-----END KEY-----\n", `{"a": "b\"c", "d": [1]}`,
}

func variables(values ...string) []env.Variable {
	var all []env.Variable
	for n, v := range values {
		all = append(all, env.Variable{Name: fmt.Sprintf("V%d", n), Value: v, Set: true})
	}
	return all
}

func encode(t testing.TB, f env.Format, all []env.Variable) []byte {
	t.Helper()
	b, err := env.Encode(f, all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A real shell has to come to the same values, whatever is in them.
func TestShell(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"sh", "bash", "dash", "busybox"} {
		for _, how := range []string{"eval", "source"} {
			t.Run(shell+" "+how, func(t *testing.T) {
				t.Parallel()
				path, err := exec.LookPath(shell)
				if err != nil {
					t.Skip(err)
				}
				script := filepath.Join(t.TempDir(), "env")
				if err := os.WriteFile(script, encode(t, env.Shell, variables(awkward...)), 0o600); err != nil {
					t.Fatal(err)
				}
				command := `. "$1"; exec env -0`
				if how == "eval" {
					command = `eval "$(cat "$1")"; exec env -0`
				}
				args := []string{"-c", command, "shell", script}
				if shell == "busybox" {
					args = append([]string{"sh"}, args...)
				}
				cmd := exec.Command(path, args...)
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nowhere", "LANG=C.UTF-8"}
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				got := map[string]string{}
				for e := range strings.SplitSeq(string(out), "\x00") {
					name, value, _ := strings.Cut(e, "=")
					got[name] = value
				}
				for _, v := range variables(awkward...) {
					if got[v.Name] != v.Value {
						t.Errorf("%q came out as %q", v.Value, got[v.Name])
					}
				}
			})
		}
	}
}

func TestDotenvRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, encode(t, env.Dotenv, variables(awkward...)), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := env.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, v := range variables(awkward...) {
		want[v.Name] = v.Value
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What each format looks like.
func TestEncode(t *testing.T) {
	t.Parallel()
	all := []env.Variable{{Name: "A", Value: "1"}, {Name: "B", Value: "a <b> $c"}, {Name: "C", Value: "it's"}, {Name: "D", Value: "ü"}}
	for f, want := range map[env.Format]string{
		env.Dotenv: "A=1\nB='a <b> $c'\nC=\"it's\"\nD='ü'\n",
		env.Shell:  "export A='1'\nexport B='a <b> $c'\nexport C='it'\\''s'\nexport D='ü'\n",
		env.Docker: "A=1\nB=a <b> $c\nC=it's\nD=ü\n",
		env.JSON:   "{\n  \"A\": \"1\",\n  \"B\": \"a <b> $c\",\n  \"C\": \"it's\",\n  \"D\": \"ü\"\n}\n",
	} {
		if d := cmp.Diff(want, string(encode(t, f, all))); d != "" {
			t.Errorf("%s: %s", f, d)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, c := range []struct {
		name    string
		formats []env.Format
		v       env.Variable
		want    string
	}{
		{"NUL", env.Formats, env.Variable{Name: "A", Value: secret + "\x00"}, "variable A: holds a NUL, which no environment can carry"},
		{"no name", env.Formats, env.Variable{Value: secret}, `"" is not the name of an environment variable`},
		{"dash", env.Formats, env.Variable{Name: "A-B", Value: secret}, `"A-B" is not the name of an environment variable`},
		{"digit first", env.Formats, env.Variable{Name: "1A", Value: secret}, `"1A" is not the name of an environment variable`},
		{"a command", env.Formats, env.Variable{Name: "A;id\n", Value: secret}, `"A;id\n" is not the name of an environment variable`},
		{"line break", []env.Format{env.Docker}, env.Variable{Name: "A", Value: secret + "\nb"}, "variable A: holds a line break, which docker's --env-file can't carry"},
		{"carriage return", []env.Format{env.Docker}, env.Variable{Name: "A", Value: secret + "\r"}, "variable A: holds a line break, which docker's --env-file can't carry"},
		{"not UTF-8, docker", []env.Format{env.Docker}, env.Variable{Name: "A", Value: secret + "\xff"}, "variable A: holds bytes that are not UTF-8, which the format docker can't carry"},
		{"not UTF-8, json", []env.Format{env.JSON}, env.Variable{Name: "A", Value: secret + "\xff"}, "variable A: holds bytes that are not UTF-8, which the format json can't carry"},
		{"too long", []env.Format{env.Docker}, env.Variable{Name: "A", Value: strings.Repeat("a", 64<<10-2)}, "variable A: holds more than docker's --env-file can carry in a line, 64 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range c.formats {
				b, err := env.Encode(f, []env.Variable{{Name: "OK", Value: "1"}, c.v})
				if err == nil || err.Error() != c.want || b != nil {
					t.Errorf("%s: %q, %v\nwant %s", f, b, err, c.want)
				}
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       map[string]string
		err        string
	}{
		{"empty", "", map[string]string{}, ""},
		{"comments and empty lines", "# a=b\n\n  # c\nA=1", map[string]string{"A": "1"}, ""},
		{"verbatim to the end of the line", "A= a \"b\" #c $d \\n \nB={\"x\": 1}\n", map[string]string{"A": " a \"b\" #c $d \\n ", "B": `{"x": 1}`}, ""},
		{"export", "export A=1\n  export\tB=2\nexport=3\n", map[string]string{"A": "1", "B": "2", "export": "3"}, ""},
		{"lines of Windows", "\ufeffA=1\r\nB='x'\r\n\r\n", map[string]string{"A": "1", "B": "x"}, ""},
		{"the last counts", "A=1\nA=2\n", map[string]string{"A": "2"}, ""},
		{"nothing", "A=\nB=''\nC=\"\"\n", map[string]string{"A": "", "B": "", "C": ""}, ""},
		{"single quotes", "A='a \\n \"b\" $c' # that's it\n", map[string]string{"A": `a \n "b" $c`}, ""},
		{"double quotes", `A="a\nb\t\"c\" \$d \\e \x"`, map[string]string{"A": "a\nb\t\"c\" $d \\e \\x"}, ""},
		{"several lines", "A='1\n2\r\n3'\nB=4\n", map[string]string{"A": "1\n2\r\n3", "B": "4"}, ""},

		{"no pair", "A=1\ns3cret\n", nil, "2: want NAME=VALUE, with letters, digits and underscores in the name"},
		{"no name", "=s3cret\n", nil, "1: want NAME=VALUE, with letters, digits and underscores in the name"},
		{"a space before the sign", "A = s3cret\n", nil, "1: want NAME=VALUE, with letters, digits and underscores in the name"},
		{"an open quote", "A=1\n\nB='s3cret\n", nil, "3: a quote that is not closed"},
		{"an open quote after a backslash", `A="s3cret\"`, nil, "1: a quote that is not closed"},
		{"something behind", "A='1\n2'\nB=\"s3cret\" s3cret\n", nil, "3: something follows the closing quote"},
		{"NUL", "A=s3cret\x00\n", nil, "1: holds a NUL, which no environment can carry"},
		{"NUL in quotes", "A='s3cret\x00'\n", nil, "1: holds a NUL, which no environment can carry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), ".env")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := env.ReadFile(path)
			if c.err != "" {
				if want := path + ":" + c.err; err == nil || err.Error() != want {
					t.Errorf("%v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("#"), 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := env.ReadFile(big); err == nil {
		t.Error("a file of any size is read")
	}
}

// What a format carries, it carries unchanged; what it doesn't is an error
// without the value.
func FuzzFormats(f *testing.F) {
	for _, v := range awkward {
		f.Add(v, "x")
	}
	f.Add("a", "\x00")
	path := filepath.Join(f.TempDir(), ".env")
	f.Fuzz(func(t *testing.T, a, b string) {
		all := variables(a, b)
		want := map[string]string{"V0": a, "V1": b}
		for _, format := range env.Formats {
			text, err := env.Encode(format, all)
			if err != nil {
				if utf8.ValidString(a) && utf8.ValidString(b) && !strings.ContainsAny(a+b, "\x00\r\n") && len(a)+len(b) < 1000 {
					t.Errorf("%s: %v", format, err)
				}
				continue
			}
			got := map[string]string{}
			switch format {
			case env.Dotenv:
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				got, err = env.ReadFile(path)
			case env.JSON:
				err = json.Unmarshal(text, &got)
			case env.Docker:
				for l := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
					name, value, _ := strings.Cut(l, "=")
					got[name] = value
				}
			case env.Shell:
				got = unquoteShell(string(text))
			}
			if err != nil || !cmp.Equal(want, got) {
				t.Errorf("%s: %v\n%q\n%s", format, err, text, cmp.Diff(want, got))
			}
		}
	})
}

// unquoteShell reads the lines of the shell format as POSIX has it: what is
// between single quotes is what it is.
func unquoteShell(text string) map[string]string {
	got := map[string]string{}
	for text != "" {
		name, rest, _ := strings.Cut(strings.TrimPrefix(text, "export "), "=")
		var value strings.Builder
		for rest != "" && rest[0] != '\n' {
			if rest[0] == '\\' {
				value.WriteByte(rest[1])
				rest = rest[2:]
				continue
			}
			var word string
			word, rest, _ = strings.Cut(rest[1:], "'")
			value.WriteString(word)
		}
		got[name], text = value.String(), strings.TrimPrefix(rest, "\n")
	}
	return got
}
