// Command container is what the containers of the end-to-end tests run. It
// tells everyone who connects which container it is, by HTTP, TCP and UDP, and
// can be asked by HTTP to look up a name or to connect somewhere, so that a
// test sees the world as that container does.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	httpPorts := flag.String("http", "3000", "ports, separated by commas, that serve HTTP")
	tcpPorts := flag.String("tcp", "", "TCP `ports` that send the container's ID and close")
	udpPorts := flag.String("udp", "", "UDP `ports` that reply with the container's ID and what they got")
	asks := flag.String("ask", "", "a DNS `server`, ADDRESS:PORT, to ask for the addresses of the names given as arguments, once each, in place of serving")
	linger := flag.Duration("linger", 0, "how long to go on serving after SIGTERM")
	deaf := flag.Bool("deaf", false, "ignore SIGTERM")
	// A mistake is said in one line, as the last that a container has said.
	flag.Usage = func() {}
	flag.Parse()
	if *deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	if *asks != "" {
		ask(*asks, flag.Args())
		return
	}
	if err := run(*httpPorts, *tcpPorts, *udpPorts, *linger, *deaf); err != nil {
		log.Fatal(err)
	}
}

// run serves until SIGTERM or SIGINT, and a while longer.
func run(httpPorts, tcpPorts, udpPorts string, linger time.Duration, deaf bool) error {
	id, err := containerID()
	if err != nil {
		return err
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if deaf {
		signals = signals[:1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// As servers do that read their configuration anew.
	signal.Ignore(syscall.SIGHUP)

	failed := make(chan error, 1)
	serve := func(ports string, what func(port string) error) {
		for port := range strings.SplitSeq(ports, ",") {
			if port == "" {
				continue
			}
			go func() {
				err := what(port)
				select {
				case failed <- fmt.Errorf("port %s: %w", port, err):
				default: // another failed first
				}
			}()
		}
	}
	handler := newHandler(id)
	serve(httpPorts, func(port string) error { return serveHTTP(port, handler) })
	serve(tcpPorts, func(port string) error { return serveTCP(port, id) })
	serve(udpPorts, func(port string) error { return serveUDP(port, id) })

	log.Printf("container %s serves http %q, tcp %q, udp %q", id, httpPorts, tcpPorts, udpPorts)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-failed:
		return err
	case <-time.After(linger):
		return nil
	}
}

func serveHTTP(port string, h http.Handler) error {
	s := &http.Server{Addr: ":" + port, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}

func serveTCP(port, id string) error {
	ln, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		// A few bytes fit the socket's buffer, so this can't block.
		if _, err := c.Write([]byte(id + "\n")); err != nil {
			log.Printf("tcp %s: %v", port, err)
		}
		if err := c.Close(); err != nil {
			log.Printf("tcp %s: %v", port, err)
		}
	}
}
