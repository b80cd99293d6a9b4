package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
)

// Docker mounts files of its own into each container from a directory that is
// named by the container's full ID.
var containerDir = regexp.MustCompile(`/containers/([0-9a-f]{64})/`)

// The host name is the short ID unless the container was given another.
var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// containerID returns the first 12 digits of the ID of the container that this
// process runs in: CONTAINER_ID, if set, has the last word.
func containerID() (string, error) {
	if id := os.Getenv("CONTAINER_ID"); id != "" {
		return id, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("finding the container's ID: %w", err)
	}
	if m := containerDir.FindSubmatch(mounts); m != nil {
		return string(m[1][:12]), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("finding the container's ID: %w", err)
	}
	if shortID.MatchString(host) {
		return host, nil
	}
	return "", errors.New("finding the container's ID: neither the mounts nor the host name tell it; set CONTAINER_ID")
}
