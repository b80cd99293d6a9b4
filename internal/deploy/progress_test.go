package deploy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := &progress{w: &b}
	p.widen("worker")
	p.widen("web")
	p.say("web", "started %s", "shop-web-r1-1")
	p.say("worker", "| \x1b[31mred\x1b[0m\a and\xff\n")
	want := "web     started shop-web-r1-1\nworker  | [31mred[0m and?\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"fewer", "one\n", []string{"one"}},
		{"more, with empty ones", "one\n\ntwo \r\nthree", []string{"two", "three"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, lastLines(tt.text, 2)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}
