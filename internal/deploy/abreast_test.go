package deploy

import (
	"errors"
	"strings"
	"testing"
)

// What is said of things that are done side by side is in their order, however
// they end, and that of the first is heard at once.
func TestAbreast(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := &progress{w: &b}
	all := []*component{{name: "a"}, {name: "b"}, {name: "c"}}
	second, third := make(chan struct{}), make(chan struct{})
	first, last := errors.New("a failed"), errors.New("c failed")
	err := p.abreast(all, len(all), func(c *component) error {
		p.say(c.name, "begun")
		switch c.name {
		case "a":
			// It ends last: if the others could not run, it would never.
			<-second
			<-third
			p.mu.Lock()
			if got := b.String(); got != "a  begun\n" {
				t.Errorf("meanwhile it said %q", got)
			}
			p.mu.Unlock()
			p.say("a", "done")
			return first
		case "b":
			close(second)
			return nil
		}
		close(third)
		return last
	})
	if !errors.Is(err, first) {
		t.Errorf("%v, want %v", err, first)
	}
	p.say("d", "after")
	if got, want := b.String(), "a  begun\na  done\nb  begun\nc  begun\nd  after\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}

// One at a time, it is as without.
func TestAbreastOne(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := &progress{w: &b}
	if err := p.abreast([]*component{{name: "a"}, {name: "b"}}, 1, func(c *component) error {
		p.say(c.name, "begun")
		p.say("other", "of %s", c.name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "a  begun\nother  of a\nb  begun\nother  of b\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}
