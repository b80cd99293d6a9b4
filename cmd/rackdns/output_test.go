package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/rackdns/rackdns/internal/resolve"
)

// hostile is what somebody who writes to the registry may try on whoever lists
// it: colors, CSI as one character, a reversed rest of the line, a new line that
// isn't one to the C library.
const hostile = "web\x1b[31m\u009b2J\u202e\u2066\u200b\u2028\u0085\x7f\U000e0041"

// TestHostileOutput checks each way in which a command prints what others wrote.
func TestHostileOutput(t *testing.T) {
	t.Parallel()
	for name, show := range map[string]func(b *bytes.Buffer) error{
		"json":   func(b *bytes.Buffer) error { return printJSON(b, map[string]string{hostile: hostile}) },
		"report": func(b *bytes.Buffer) error { return report(b, hostile, func() (string, error) { return hostile, nil }) },
		"table": func(b *bytes.Buffer) error {
			var rows table
			rows.add("A", hostile, "B")
			return rows.print(b, "")
		},
		"resolve": func(b *bytes.Buffer) error {
			return printResult(b, &resolve.Answer{Result: resolve.Result{Name: hostile, Remark: hostile}}, hostile)
		},
		"error": func(b *bytes.Buffer) error {
			b.WriteString(oneLine(hostile))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := show(&b); err != nil {
				t.Fatal(err)
			}
			for _, r := range b.String() {
				if r != '\n' && unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) {
					t.Errorf("%U in %q", r, b.String())
				}
			}
			if !strings.Contains(b.String(), "web") {
				t.Errorf("%q", b.String())
			}
		})
	}
	var b bytes.Buffer
	if err := printJSON(&b, hostile); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != hostile {
		t.Errorf("%q is %q: %v", hostile, got, err)
	}
}
