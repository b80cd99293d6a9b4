package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// yesFlag answers the question of [yesFlag.confirm] beforehand.
type yesFlag struct{ yes bool }

func (f *yesFlag) add(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.yes, "yes", "y", false, "don't ask before data are removed")
}

// confirm asks whether something may be removed for ever. Where there is no
// terminal to ask at, --yes has to say so.
func (f *yesFlag) confirm(cmd *cobra.Command, what string) error {
	return f.ask(cmd, "--volumes: would remove "+what+" for ever", "Remove "+what+" for ever?")
}

// ask asks a question about what would be done, which is a mistake where there
// is nobody to ask.
func (f *yesFlag) ask(cmd *cobra.Command, would, question string) error {
	if f.yes {
		return nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usagef("%s, and there is nobody to ask: nothing was changed; say --yes", would)
	}
	if _, err := fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] "); err != nil {
		return err
	}
	answer, err := readLine(cmd.Context(), in)
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}

// readLine returns the next line, or gives up with ctx; then the program ends,
// and whoever still reads with it.
func readLine(ctx context.Context, in *os.File) (string, error) {
	line := make(chan string, 1)
	go func() {
		// What can't be read is no yes.
		text, _ := bufio.NewReader(in).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		return text, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
