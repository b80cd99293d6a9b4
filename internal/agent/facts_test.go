package agent

import (
	"errors"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestParseSignal(t *testing.T) {
	tests := map[string]int{
		"": 0, "15": 15, "SIGTERM": 15, "term": 15, "SIGKILL": 9, "9": 9, "HUP": 1, "SIGUSR1": 10, "sigquit": 3,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMIN+3": 37, "SIGRTMAX": 64, "SIGRTMAX-14": 50,
		"SIGRTMIN+99": 0, "SIGRTMAX-99": 0, "0": 0, "65": 0, "-1": 0, "NOPE": 0, "SIGRTMIN+-3": 0,
	}
	for s, want := range tests {
		n, ok := parseSignal(s)
		if ok != (want != 0) || ok && n != want {
			t.Errorf("%q = %d, %t, want %d", s, n, ok, want)
		}
	}
}

func TestReadFacts(t *testing.T) {
	if _, err := readFacts(container.InspectResponse{}); !errors.Is(err, errIncomplete) {
		t.Errorf("an empty answer: %v", err)
	}
	// What an engine leaves out costs only what follows from it.
	f, err := readFacts(container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{ID: testID, State: &container.State{Status: "running"}},
		Config:            &container.Config{StopSignal: "SIGRTMIN+3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.mode != modeBridge || f.stopSignal != 37 || f.stopTimeout != 10*time.Second || !f.running() {
		t.Errorf("%+v", f)
	}
	if d := decide(f, testHome); d.refusal == nil || d.refusal.Reason != ReasonName {
		t.Errorf("a container without a name: %+v", d.refusal)
	}
	timeout := 60
	f, err = readFacts(container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: testID, Name: "/web",
			State:      &container.State{Status: "running", StartedAt: "2026-11-20T09:32:51.5Z", Health: &container.Health{Status: "none"}},
			HostConfig: &container.HostConfig{NetworkMode: "container:abc"},
		},
		Config: &container.Config{StopTimeout: &timeout, Env: []string{"PASSWORD=secret", "SERVICE_NAME=web", "SERVICE_TAGS"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.name != "web" || f.health != "" || f.stopTimeout != time.Minute || f.joins != "abc" || len(f.env) != 2 || f.env["SERVICE_NAME"] != "web" {
		t.Errorf("%+v", f)
	}
}
