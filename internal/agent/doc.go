// Package agent keeps the registry equal to what runs on one Docker host.
//
// # How it works
//
// Docker's events are hints that a container changed; what an inspect says is
// the truth, and a list every 45 seconds, and after every reconnect, finds
// what no event told of. Events and lists put container IDs into a queue
// (queue.go) that never works twice at once on one ID. A worker inspects the
// container (inspect.go), decides what it should look like in the registry
// (decide.go and the files it calls) and tells the publisher (tracker.go).
// Deciding is a pure function of the inspect's facts, so that `rackdns
// explain` and `--dry-run` say exactly what the agent does.
//
// Two events act before any inspect: `die` takes the instance away, and a
// `kill` with the container's stop signal or SIGKILL marks it as draining. So
// do a kill that is yet to be done, and the end of the container's process.
//
// # Before a kill
//
// The engine tells of `docker kill` and `docker stop` when the signal was sent,
// and SIGKILL leaves nobody to answer. But it sends none itself: it has an OCI
// runtime do so, such as runc, which takes some ten milliseconds from its start
// to the signal. The agent hears of that start (runtime.go) and has the
// instance drain (foretold.go), as a rule before its process gets the signal:
// nothing waits for it. Should the runtime fail, the container has survived.
//
// What is heard so is a hint: a root process on the host, in a container with
// the host's process IDs too, can make it up. If neither the engine tells of the
// kill within 500 ms, by its event or by an inspect that waits for it to be
// done, nor the process ends, the instance serves again, and for ten seconds,
// doubling to ten minutes while no kill comes, nothing more is believed of it
// ahead of the engine. rackdns_agent_kills_unconfirmed_total counts those,
// rackdns_agent_kill_foretold_lead_seconds says how early the others were.
//
// This takes CAP_SYS_ADMIN (fanotify) and the runtime's file, as root has on the
// engine's host, and counts only for runtimes that a shim of containerd's has
// started as root. Else the engine's events tell, which come soon enough for all
// but the last requests. rackdns_agent_kills_foretold_total counts.
//
// # The end of a process
//
// The engine tells of a crash tens of milliseconds after it, and of nothing
// while it hangs or is down, though its containers run on. So the agent holds a pidfd of the first
// process of each registered container (process.go, watch.go) and sees its end
// as soon as there is one. Then the instance is draining, whatever the engine
// says of that run; its `die` takes it away, and its next start, which has
// another start time, makes it serve again.
//
// A process ID means nothing if the engine is on another host, or the agent in
// a PID namespace of its own. It counts only if that process is in the cgroup
// with the container's full ID and is the first in the container's namespace. A
// container whose process can't be watched (also before Linux 5.3) is left to
// events; rackdns_agent_processes_watched tells how many are watched. An agent in a
// container needs the host's PID namespace for it: `docker run --pid host`.
//
// # Identity
//
// A container's app, service and namespace come, each for itself, from the
// first of these sources that has it:
//
//  1. the labels rackdns.app, rackdns.service, rackdns.namespace
//  2. the labels convox.app, convox.name or else convox.service,
//     convox.namespace
//  3. SERVICE_NAME (service), or, on a container with one single port,
//     SERVICE_<port>_NAME; a label before an environment variable
//  4. Swarm: com.docker.stack.namespace (app) and
//     com.docker.swarm.service.name without "<stack>_" (service)
//  5. Compose: com.docker.compose.project (app) and
//     com.docker.compose.service (service)
//  6. the container's name (service) and "default" (app)
//
// So rackdns.service names the service anew within its Compose project.
// The namespace is the app's name, unless a namespace label comes from the
// source that decided the app or from a higher one: convox.namespace belongs
// to convox.app and means nothing for an app that rackdns.app put in its place.
// An empty value counts as absent. Underscores become dashes, capitals small
// letters; what is then not a DNS label refuses the container. Dots become dashes
// in names that Swarm, Compose or the engine have (sources 4 to 6), since those
// weren't given as names in DNS. Where several names become one, such as a_b and
// a.b, the log says so once.
//
// # Aliases
//
// Within its app a container is found by further names, with all its ports:
// those of rackdns.aliases=a,b; its own, if somebody chose it (container_name,
// docker run --name), rather than Compose, Swarm, rackdns up or the engine; and
// its aliases on networks, without those that are the same for every container.
// SERVICE_<port>_NAME, on a container with several ports, is an alias for that
// port alone. A service or a resource of the app that has such a name keeps it;
// the log says so once.
//
// # What comes from the image
//
// An inspect merges the labels and variables of a container with its image's,
// and whoever builds an image is not always who decides what it is called. So
// what comes from the image counts for ports (rackdns.port.*,
// SERVICE_<port>_NAME and _IGNORE), health (rackdns.health) and tags
// (rackdns.tags.*, SERVICE_TAGS) alone, unless --image-labels lets all of it
// count. Identity, weight, priority and address, links, connect and resources,
// and what leaves a container out, are the container's own to say: also
// rackdns.ignore, for an image that was made of a container (docker commit)
// has all labels of that. rackdns.up.* never counts. Of an image that was made of
// a container of `rackdns up` or `rackdns resources`, which tells itself by those,
// identity and the like don't count with --image-labels either: nobody has
// written them there.
//
// The agent asks the engine for the image, once each, and only where there is a
// label of which it matters (image.go). A label with the image's value is the
// image's, though it may have been given again; the log, `rackdns explain` and
// `--dry-run` say so. But Compose labels the images that it builds like their
// containers: the labels that it, Swarm or `rackdns up` always set themselves
// count where they have set a label that no image has. If the image is gone
// and was not known before, so that nothing can be told, the container is
// refused: its labels would let in any image that was removed soon enough, and
// without them it had a name that nobody asked for.
//
// # Racks that share an engine
//
// A container with the label rackdns.up.rack (of `rackdns up`) or else
// rackdns.rack is that rack's alone; agents of others leave it out. Without one
// it is every agent's. An agent that was told --only-labelled leaves out all that
// has no label rackdns.* of its own.
//
// # Namespaces
//
// Which of several apps has a namespace is for the index to say. For that an
// instance tells since when its app has had it on this node, if that is before
// its own start: namespaceSince in the registry. The registry's publisher adds
// it; no label sets it.
//
// # Left out
//
// rackdns.ignore leaves a container out, unless its value is 0, f, false, n,
// no or off; where that label is absent, any SERVICE_IGNORE that is not empty
// does. So do com.docker.compose.oneoff=True (`docker compose run`, whose
// containers carry the labels of the service they were started from) and any
// convox.type but "service": builds, timers, one-off processes, and resources,
// which have names of their own.
//
// # Other labels
//
// A bad value of these costs nothing but itself: the default counts, and the
// log and `rackdns explain` say so.
//
//	rackdns.aliases=<name>,...      further names in its app
//	rackdns.port.<n>[/udp]=<name>   lists a port and names it
//	rackdns.port.<n>[/udp]=ignore   leaves it out
//	rackdns.network=<name>          only this network is registered; a Compose
//	                                network also by its short name
//	rackdns.address=host|container  forces one kind of endpoint
//	rackdns.health=require|ignore   require: no health check, no service
//	rackdns.weight=0..100
//	rackdns.priority=0..65535
//	rackdns.answers=1..1000
//	rackdns.tags.<k>=<v>            SERVICE_TAGS adds k=v,k too
//	rackdns.resource=<type>         it is one of a resource of its app, too
//	rackdns.resource.name=<name>    of this name, else of the service's
//	rackdns.links=<service>,...     services of its app that it wants to be told
//	connect.<port>=<name>           its own port that leads to that name
//	convox.release=<id>
//
// SERVICE_<port>_NAME names a port of either protocol, SERVICE_<port>_IGNORE
// leaves it out.
//
// # Endpoints
//
// Networks are listed in a fixed order: the network of the container's network
// mode, then by gateway priority, then by name. Swarm's ingress network is no
// way to reach a container and is left out. A container in `host` mode has no
// network; its ports, from EXPOSE and labels, are published on the node's
// address under their own number. A container in `container:X` mode has X's
// networks and X's bindings for the ports that it lists itself, as long as it
// started after X did; it stays behind in a dead namespace when X restarts.
//
// A port bound to any address is registered with the node's address of that
// family, and with every specific address that another port of the container
// is bound to, since it is reachable there too. What is bound to loopback
// is listed apart from that: only the node itself is told of it, and containers
// with the node's network.
//
// A port that is published for udp answers at the node's address to those who
// come from outside. To a container on another bridge of the same node it
// doesn't: what Docker puts in between replies from the address of that bridge,
// which is none that was asked. Containers that need it share a network.
//
// # Draining
//
// A container that was sent its stop signal is out until it ends, however long
// that takes: the engine tells nobody of a timeout given with `docker stop
// --time`. It serves again only on proof that it survived. That is, at the end of
// its own stop timeout and a grace of two seconds, that its first process neither
// catches nor blocks the signal, by /proc/<pid>/status (fate.go): it ignores it,
// or does nothing about it, which is the same for the first process of a PID
// namespace. Where this host's /proc doesn't show that, since the engine is on
// another host or hides it, the container is out until it is started anew.
//
// # The node's address
//
// It is the one that was configured, else that of the default route, never
// loopback. Where that is a container's, since the agent runs in one, the agent
// ends and says so; where the node is its rack's only one ([Config.Alone]), the
// host's address on that Docker network will do, and without a default route
// that on Docker's own: the host and all its containers reach both. An engine on
// another host is at that host's address (elsewhere.go).
//
// It is followed (place.go): the kernel tells of changed addresses and routes, the
// node's key is written with the new address on the same lease, and all containers
// are looked at again. A node of several waits for its first address, and stays at
// the last one while it has none.
//
// # Without an engine
//
// An engine that goes away takes no name with it: its containers may well run,
// and only those whose process ends meanwhile are draining. An agent that is
// started meanwhile takes none either: it keeps the lease of the one before it
// (keep.go), if that was this node's by its address and its boot ID, and writes
// nothing until the engine says who it is. Should that be another one, the names
// end with their lease, and the agent has to wait for that.
//
// # Other engines
//
// Podman answers at Docker's API and is refused: its events tell of no end of a
// container under the name that Docker has for it, its ID is another one at each
// call, by which a node tells its own keys from another's, and its processes are
// in cgroups of another name.
//
// A port that a Swarm service publishes by the routing mesh is in no container's
// inspect. A manager's engine tells it of the service, and it is registered with the
// node's IPv4 address; a worker's doesn't, and so it isn't told as published, as
// log and explain say. One that is published in mode host is in the inspect.
//
// # What is not registered
//
// Command lines and environments: they carry passwords.
package agent
