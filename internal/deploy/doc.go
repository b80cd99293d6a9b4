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
// each other doesn't, such as pulls and resources, though what is said of them is
// in their order (abreast.go). To serve is what DNS means by it, and it is the
// index that says so (wait.go): the agent has registered the container, and it is healthy
// where it has a health check. Whatever fails, what was begun is undone: what
// served before serves on. So up can be run again and again, also after it was
// interrupted, and changes what differs.
//
// One process of the rack at a time works on an app; a second one waits.
//
// # What it makes
//
//	network    rackdns-<rack>, for all apps of the rack
//	container  <app>-<service>-<number>; while that is the name of the one that it
//	           is to replace, <app>-<service>-<release>-<number>
//	volume     <rack>.<app>.<resource>, and <rack>.<app>._program-<version>
//	image      rackdns-<rack>/<app>.<service>:<image's ID>, where it builds
//
// # Whose it is
//
// A label proves nothing by itself. An image that docker commit makes of a
// container has all of its labels, and gives them to all that is run of it;
// other tools make containers by what an inspect says. So a container is the
// app's if it has the labels of the app, its mark (rackdns.up.id, which is each
// container's own, or rackdns.up.hash on older ones) is not its image's, its name is
// one that it was given, which an engine has once, and no older container has its
// mark. A name that somebody else's container has is not given, whosever app or
// rack that is: the instance gets the next number. What is not the app's is
// named and left alone, also by down. Where nothing can tell, since the image is
// gone, nothing at all is done. All of this is asked of the engine: a registry
// that lost everything makes nobody the owner of anything.
//
// Nothing copies the labels of a volume or a network. A volume is the app's if
// its name goes with its labels. It says too which type of resource has written
// it: a server of another type never gets it, and no server gets it while
// another container that may write has it.
//
// An app is called like the directory of its manifest, and many directories have
// the same name. The registry remembers which one it is on this engine; should it
// not, containers and volumes say it in labels. From another one nothing is done,
// unless the app is given by its name; that one is remembered then. down forgets
// it with the last volume. A volume that says another directory is removed only
// for those who name the app.
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
// What may be changed of it is said by package resource, for `resources update`
// too. Another password is given to the server once that runs on the data
// (data.go), and to the registry once it has been. It can be cut off anywhere:
// the passwords that the data may have are those of the registry, of the manifest
// and of the containers that there are, and they are tried in turn.
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
