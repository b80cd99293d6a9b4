// Worker is what the tests run in containers.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0 || args[0] == "wait":
		// Dies of the signals that it is sent to die of, as the first process
		// of a container only does if it says so.
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
		signal.Ignore(syscall.SIGHUP)
		<-c
		return nil
	case args[0] == "stubborn":
		// Takes signals and goes on.
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("settled")
		for s := range c {
			fmt.Println("got", s)
		}
		return nil
	case args[0] == "deaf":
		// To ignore a signal is to survive it.
		for _, n := range args[1:] {
			s, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			signal.Ignore(syscall.Signal(s))
		}
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		fmt.Println("settled")
		<-c
		return nil
	case args[0] == "touch":
		return os.WriteFile(args[1], nil, 0o600)
	case args[0] == "rm":
		return os.Remove(args[1])
	case args[0] == "exists":
		_, err := os.Stat(args[1])
		return err
	}
	return fmt.Errorf("unknown: %q", args)
}
