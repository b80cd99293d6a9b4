package env

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"slices"
)

// Docker mounts these files into each container, from a directory that is named
// by the container's full ID.
var (
	ownFiles     = []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}
	containerDir = regexp.MustCompile(`/containers/([0-9a-f]{64})/`)
)

// The host name is the short ID unless the container was given another.
var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// ErrNoContainer is returned to a process that can't find out in which
// container it runs.
var ErrNoContainer = errors.New("this process doesn't look like one of a container")

// OwnID returns the ID of the instance that this process runs in, the first 12
// digits of its container's. A container that shares another's network finds
// that one.
func OwnID() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		if id, ok := idOf(mounts); ok {
			return id, nil
		}
	}
	if host, err := os.Hostname(); err == nil && shortID.MatchString(host) {
		return host, nil
	}
	return "", ErrNoContainer
}

// idOf finds the ID in the lines of mountinfo (see proc(5)), of which the
// fourth field is what is mounted and the fifth where.
func idOf(mounts []byte) (string, bool) {
	for line := range bytes.Lines(mounts) {
		fields := bytes.Fields(line)
		if len(fields) < 5 || !slices.Contains(ownFiles, string(fields[4])) {
			continue
		}
		if m := containerDir.FindSubmatch(fields[3]); m != nil {
			return string(m[1][:12]), true
		}
	}
	return "", false
}
