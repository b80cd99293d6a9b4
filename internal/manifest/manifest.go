// Package manifest reads convox.yml: the services of an app, what they link to
// and what they need.
package manifest

import "time"

// Manifest is a convox.yml that was read and found sound by itself. Lists are
// in the order of the file.
type Manifest struct {
	// File is where it was read from, as errors name it.
	File string
	// Source is its text.
	Source    []byte
	Services  []Service
	Resources []Resource
	Timers    []Timer
	// Environment is every service's, below the service's own. Inherit says that
	// every service has all of the app's environment.
	Environment []Variable
	Inherit     bool
	// Warnings are keys that nobody knows, each one line that names file, line
	// and key.
	Warnings []string
	// Ignored are keys that have no effect here.
	Ignored []IgnoredKey
}

// IgnoredKey is a key that has no effect on a plain host.
type IgnoredKey struct {
	// Key is its last part, Line one line that names file, line, key and why.
	Key, Line string
}

// Service is a component of the app.
type Service struct {
	Name string
	// Line is where the file says so.
	Line int
	// Image is what to run, unless Build says what to make first.
	Image string
	Build *Build
	// Command and Entrypoint replace the image's, nil if they are not given. What
	// was given as one string is split as a shell would; if that is more than
	// words to a shell, they are [Shell], -c and the string.
	Command, Entrypoint []string
	// Port is the one that links lead to, nil without one. Ports are all,
	// Port's first.
	Port  *Port
	Ports []Port
	// Links are names of services of the app, in the order given.
	Links     []string
	Resources []ResourceRef
	// Environment is the service's own, Inherit says that it has all of the app's.
	Environment []Variable
	Inherit     bool
	// Count is how many instances it should have; 1 unless given.
	Count int
	Limits
	// Health is nil without a check; NoHealth says that there is to be none, not
	// even the image's. Liveness has a container restarted that fails it.
	Health, Liveness *Health
	NoHealth         bool
	// Internal services are not published beyond their Docker network. Agents are
	// published at the same port numbers that they have.
	Internal, Agent bool
	// Labels are those of its containers, with its annotations and the app's
	// labels.
	Labels map[string]string
	// Volumes are what is mounted.
	Volumes []Volume
	// StopTimeout is how long it has to end when it is told to, 0 unless given.
	StopTimeout time.Duration
	Privileged  bool
	// Init says whether a small init is its first process, nil if it doesn't.
	Init *bool
	// NDots is the resolver's option, 0 unless given.
	NDots int
	// Singleton services have no second instance at a time, see Deployment.
	Singleton  bool
	Deployment Deployment
}

// Limits are what an instance may use. Each is 0 unless given.
type Limits struct {
	// CPUShares is its weight among those who want more than there is, NanoCPUs
	// how much of a processor it can have at most, in billionths.
	CPUShares, NanoCPUs int64
	// Memory is how many bytes it can have, MemoryReservation how many are kept
	// for it.
	Memory, MemoryReservation int64
}

// Deployment says how instances are replaced, in percent of their count: how
// many go on meanwhile at least, and how many run at most. Both are filled in
// where the file doesn't say.
type Deployment struct {
	Minimum, Maximum int
}

// StopFirst reports whether an old instance has to stop before a new one may
// start.
func (d Deployment) StopFirst() bool { return d.Maximum <= allOfThem }

// allOfThem is the number of instances that there should be, in percent.
const allOfThem = 100

// VolumeKind says what is mounted.
type VolumeKind uint8

const (
	// NamedVolume is a volume of the app's that services share by its name.
	NamedVolume VolumeKind = iota + 1
	// PathVolume is a volume of the service's own, known by its target.
	PathVolume
	// HostPath is a file or a directory of the host.
	HostPath
	// Scratch is a directory that is empty at each start.
	Scratch
	// MemoryScratch is one that is in memory.
	MemoryScratch
)

// Volume is something that is mounted.
type Volume struct {
	Kind VolumeKind
	// Source is the name or the host's path. One that isn't absolute is
	// relative to the manifest's directory.
	Source string
	// Target is where it is in the container, clean and absolute.
	Target   string
	ReadOnly bool
	Line     int
}

// Keeps reports whether it has data that outlive a container and that are
// written.
func (v Volume) Keeps() bool {
	return (v.Kind == NamedVolume || v.Kind == PathVolume) && !v.ReadOnly
}

// Timer is a command that is run at its times.
type Timer struct {
	Name string
	Line int
	// Service is one of the manifest's.
	Service string
	// Schedule is five fields of cron, in UTC.
	Schedule string
	// Command is as a service's; nil is the service's own.
	Command []string
	// Concurrency says whether one may start while the last one runs.
	Concurrency Concurrency
	// Parallel is how many run each time; 1 unless given.
	Parallel int
	// Labels are those of its containers, besides the service's.
	Labels map[string]string
}

// Concurrency is what happens when it is time and the last one still runs.
type Concurrency string

// What may happen: both run, the new one doesn't, or the last one is ended.
const (
	Allow   Concurrency = "allow"
	Forbid  Concurrency = "forbid"
	Replace Concurrency = "replace"
)

// Build is how to make a service's image.
type Build struct {
	// Path is the directory of the build's context, relative to the manifest's.
	Path string
	// Dockerfile is relative to Path; "Dockerfile" unless given.
	Dockerfile string
	Args       map[string]string
	Target     string
}

// Port is a port that a service listens on in its container.
type Port struct {
	Number uint16
	// Protocol is registry.TCP or registry.UDP.
	Protocol string
	// Scheme is that of a URL: "http" for a service's port unless given, empty
	// for its other ports unless given.
	Scheme string
}

// ResourceRef is a service's use of a resource. Env is the one variable that
// the service wants, empty for the default ones.
type ResourceRef struct {
	Name, Env string
	Line      int
}

// Resource is a supplementary component of the app.
type Resource struct {
	Name, Type string
	Options    map[string]string
	Line       int
}

// Variable is an environment variable. One without a value (Set is false) is
// asked of the app's environment.
type Variable struct {
	Name, Value string
	Set         bool
	Line        int
}

// Health is a check at the service's port: over HTTP, or gRPC's own.
type Health struct {
	Path string
	GRPC bool
	// Grace is how long after its start a failure doesn't count, Interval the
	// time between two checks, Timeout that of one.
	Grace, Interval, Timeout time.Duration
	// Failures is after how many in a row it counts as failed, 0 unless given.
	Failures int
}
