package main

import (
	"fmt"
	"io"

	"github.com/rackdns/rackdns/internal/terminal"
)

// report says on w what is done, and when it is done, that it is: with what do
// returns, if anything. An error is left to the caller.
func report(w io.Writer, what string, do func() (string, error)) error {
	if _, err := fmt.Fprintf(w, "%s... ", terminal.Text(what)); err != nil {
		return err
	}
	result, err := do()
	end := "OK"
	switch {
	case err != nil:
		end = "failed"
	case result != "":
		end = "OK, " + terminal.Text(result)
	}
	if _, werr := fmt.Fprintln(w, end); err == nil {
		err = werr
	}
	return err
}
