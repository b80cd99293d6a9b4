package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateDocs = flag.Bool("update-docs", false, "write what commands print into the documentation")

// The transcripts of docs/compose.md are what is printed of the file that it shows.
func TestComposeDocs(t *testing.T) {
	doc := filepath.Join("..", "..", "docs", "compose.md")
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```")
	file := filepath.Join(t.TempDir(), "shop", "compose.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	transcripts := 0
	for n := 1; n < len(parts); n += 2 {
		kind, block, _ := strings.Cut(parts[n], "\n")
		switch kind {
		case "yaml":
			// The last one before a transcript is what it is about.
			if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
		case "console":
			transcripts++
			command, _, _ := strings.Cut(block, "\n")
			args := slices.Concat(strings.Fields(command)[2:], []string{"-f", file})
			var out bytes.Buffer
			if err := run(context.Background(), args, &out); err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			want := "console\n" + command + "\n" + out.String()
			if d := cmp.Diff(want, parts[n]); d != "" && !*updateDocs {
				t.Errorf("%s (-printed +documented):\n%s", command, d)
			}
			parts[n] = want
		}
	}
	if transcripts != 2 {
		t.Errorf("%d transcripts, want 2", transcripts)
	}
	if *updateDocs {
		if err := os.WriteFile(doc, []byte(strings.Join(parts, "```")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
