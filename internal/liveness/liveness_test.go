package liveness

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	t.Parallel()
	dead := errors.New("no answer")
	var (
		now   error
		age   time.Duration
		ended int
	)
	c := Check{
		Probe: func(context.Context) error { return now }, Grace: 10 * time.Second, Failures: 3, Dir: t.TempDir(),
		Age: func() (time.Duration, error) { return age, nil },
		End: func() error { ended++; return nil },
	}
	for n, step := range []struct {
		fails bool
		age   time.Duration
		ended int
	}{
		{true, 1 * time.Second, 0}, {true, 2 * time.Second, 0}, {true, 3 * time.Second, 0}, // in its grace
		{true, 10 * time.Second, 0}, {true, 15 * time.Second, 0},
		{false, 20 * time.Second, 0}, // counts anew
		{true, 25 * time.Second, 0}, {true, 30 * time.Second, 0}, {true, 35 * time.Second, 1},
	} {
		now, age = nil, step.age
		if step.fails {
			now = dead
		}
		err := c.Run(context.Background())
		if step.fails != errors.Is(err, dead) || ended != step.ended {
			t.Fatalf("step %d: %v, ended %d times, want %d", n, err, ended, step.ended)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "liveness: ") {
			t.Errorf("step %d: %v doesn't say what it is", n, err)
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	const stat = "1 (a (b) c) S 0 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1"
	if got, err := age(stat, "133.45 1.0\n"); err != nil || got != 10*time.Second {
		t.Errorf("%v, %v; want 10s", got, err)
	}
	if _, err := age("", ""); err == nil {
		t.Error("nothing is the age of a container")
	}
	if got, err := Age(); err != nil || got <= 0 {
		t.Errorf("here: %v, %v", got, err)
	}
}
