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
	// Environment is every service's, below the service's own.
	Environment []Variable
	// Warnings are keys that mean nothing here, each one line that names file,
	// line and key.
	Warnings []string
}

// Service is a component of the app.
type Service struct {
	Name string
	// Line is where the file says so.
	Line int
	// Image is what to run, unless Build says what to make first.
	Image string
	Build *Build
	// Command replaces the image's, nil if it is not given. A command that is
	// given as one string is split as a shell would (no shell runs it).
	Command []string
	// Port is the one that links lead to, nil without one. Ports are all,
	// Port's first.
	Port  *Port
	Ports []Port
	// Links are names of services of the app, in the order given.
	Links     []string
	Resources []ResourceRef
	// Environment is the service's own.
	Environment []Variable
	// Count is how many instances it should have; 1 unless given.
	Count int
	// Health is nil without a check.
	Health *Health
	// Internal services are not published beyond their Docker network.
	Internal bool
	Labels   map[string]string
}

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

// Health is a check over HTTP at the service's port.
type Health struct {
	Path string
	// Grace is how long after its start a failure doesn't count, Interval the
	// time between two checks, Timeout that of one.
	Grace, Interval, Timeout time.Duration
}
