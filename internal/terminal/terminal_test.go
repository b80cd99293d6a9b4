package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// unsafe are characters of each kind that must not be shown as they are.
var unsafe = []rune{
	0, '\a', '\b', '\v', '\x1b', 0x7f, // C0 and DEL
	0x80, 0x85, 0x9b, 0x9d, 0x9f, // C1: 9b is CSI, 9d is OSC
	0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, // bidirectional
	0x2028, 0x2029, 0x00a0, 0x2003, 0x3000, // lines and spaces
	0x00ad, 0x034f, 0x115f, 0x180e, 0x200b, 0x200c, 0x200d, 0x2060, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0x2800, // not seen
	0xe0001, 0xe0041, 0xe0100, 0xe000, 0x10ffff, // tags, private use
	utf8.RuneError,
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, r := range unsafe {
		s := "a" + string(r) + "b"
		if got := Text(s); got != "a?b" {
			t.Errorf("%U: %q", r, got)
		}
		if got := Strip(s); got != "ab" {
			t.Errorf("%U: %q", r, got)
		}
		if got := Line(s); got != "a?b" && got != "a b" {
			t.Errorf("%U: %q", r, got)
		}
	}
	const fine = "größer, 日本語, é, עברית, 🐳 ~!"
	if got := Text(fine); got != fine {
		t.Errorf("%q", got)
	}
	if got := Text("a\xffb\nc"); got != "a?b?c" {
		t.Errorf("%q", got)
	}
	if got := Line(" a\x1b[31m\n\tb  c\r\n"); got != "a?[31m b c" {
		t.Errorf("%q", got)
	}
	if got := Lines("a\tb\x9b\nc\r\n"); got != "a\tb?\nc?\n" {
		t.Errorf("%q", got)
	}
}

// Values stay what they are, whatever is in them.
func TestJSON(t *testing.T) {
	t.Parallel()
	all := string(unsafe) + "\t\r\n\"\\/<>& größer 🐳"
	for indent := range 2 {
		text, err := json.MarshalIndent(map[string]string{all: all}, "", strings.Repeat(" ", indent))
		if err != nil {
			t.Fatal(err)
		}
		shown := JSON(text)
		checkShown(t, string(shown))
		var got map[string]string
		if err := json.Unmarshal(shown, &got); err != nil || got[all] != all {
			t.Errorf("%s: %v", shown, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(string(unsafe))
	f.Add("größer \x9b\xff")
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		shown := JSON(text)
		checkShown(t, string(shown))
		checkShown(t, Text(s))
		checkShown(t, Line(s))
		var got string
		if err := json.Unmarshal(shown, &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("%q is %q: %v", s, got, err)
		}
	})
}

// checkShown is what a terminal minds, said in another way than by Safe.
func checkShown(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && r != '\t' && r != '\r' && unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
			t.Errorf("%U in %q", r, s)
		}
	}
}
