package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals:", err)
	}
	t.Cleanup(func() { _ = user.Close() })
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return user, program
}

// Only a plain yes removes data.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, typed string
		yes         bool
		want        string
	}{
		{"yes", "yes\n", false, ""},
		{"y", " Y \n", false, ""},
		{"no", "n\n", false, "nothing was changed"},
		{"nothing", "\n", false, "nothing was changed"},
		{"something else", "yes, please\n", false, "nothing was changed"},
		{"the end of input", "\x04", false, "nothing was changed"},
		{"said beforehand", "", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			user, program := openTerminal(t)
			var asked bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetContext(t.Context())
			cmd.SetIn(program)
			cmd.SetErr(&asked)
			if _, err := user.WriteString(tc.typed); err != nil {
				t.Fatal(err)
			}
			err := (&yesFlag{tc.yes}).confirm(cmd, "the data of app shop in volume local.shop.db")
			if got := fmt.Sprint(err); err == nil && tc.want != "" || err != nil && got != tc.want {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if want := "Remove the data of app shop in volume local.shop.db for ever? [y/N] "; (asked.String() != want) != tc.yes {
				t.Errorf("asked %q", &asked)
			}
		})
	}
}

// Where nobody can be asked, somebody has to have said it.
func TestConfirmWithoutTerminal(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{}
	cmd.SetIn(strings.NewReader("yes\n"))
	err := (&yesFlag{}).confirm(cmd, "everything")
	var usage usageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "would remove everything for ever") || !strings.Contains(err.Error(), "say --yes") {
		t.Errorf("error %v", err)
	}
}
