// Package deploy brings an app up on one Docker Engine from its convox.yml,
// and takes it down again.
//
// # What up does
//
// It works out everything first and touches nothing until it has: the
// containers as they should be (want.go), their environments (environment.go),
// their images (image.go, build.go), who registers them (wait.go) and which DNS
// server they ask (nameserver.go). What is wrong in what it was given changes
// nothing.
//
// A container carries a hash of all that makes it, its release aside, in a
// label. Comparing that with what is wanted gives a list of steps (plan.go, a
// pure function), which are then taken in their order (steps.go): a new instance
// serves before an old one is told to stop, one by one; what needn't wait for
// each other doesn't. To serve is what DNS means by it, and it is the index that
// says so (wait.go): the agent has registered the container, and it is healthy
// where it has a health check. Whatever fails, what was begun is undone: what
// served before serves on. So up can be run again and again, also after it was
// interrupted, and changes what differs.
//
// One process of the rack at a time works on an app; a second one waits.
//
// # What it makes
//
//	network    rackdns-<rack>, for all apps of the rack
//	container  <app>-<service>-<release>-<number>
//	volume     <rack>.<app>.<resource>, and <rack>.<app>._program-<version>
//	image      rackdns-<rack>/<app>-<service>:<image's ID>, where it builds
//
// Containers and volumes have the label rackdns.up.rack. Those without it are
// not touched, whatever their names.
//
// # Resources
//
// A resource is a container of its own with a volume. It is an instance of the
// service <type>-<name>, which is one of the names that a resource has anyhow.
// Only one container may work on the data, so here the old one stops first; it
// is started again if the new one doesn't serve. Its URL with the password is
// made once and kept in the registry's secrets, since the data is only of use
// with it. Its port is not published: whoever uses it is on the rack's network.
//
// # Health checks
//
// What a container has to run a check with can't be known: an image may be a
// single program. So a volume of the app has this program, and is mounted into
// those that have a check: it is what the engine runs there (`rackdns probe
// URL`). It must be the static binary. A copy stays when the binary is gone from
// where up was called, or was elsewhere than the engine is; what runs keeps the
// version that it was started with.
//
// A service without a health check serves as soon as it runs. It has to run for
// a second before it is trusted with the place of another one.
package deploy
