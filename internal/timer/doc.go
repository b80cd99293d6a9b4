// Package timer runs the timers of apps at their times, on the node whose engine
// has their containers.
//
// `rackdns up` makes a container for each instance of a timer, and doesn't start
// it. What it runs, with which environment, is in the container, as it is in a
// service's; its schedule is a label. A [Runner] looks at each full minute which
// containers are due, and starts them. Where the app was brought up on several
// nodes, all of them have such containers: the registry decides which one runs.
//
// A run is never doubled, and one that was missed, because the node, the engine or
// the registry was away, is not made up for: a log line says so.
package timer
