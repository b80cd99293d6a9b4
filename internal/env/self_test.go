package env

import (
	"strings"
	"testing"
)

func TestIDOf(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ name, mounts, want string }{
		{"none", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", ""},
		{"a container", "22 1 8:1 / / rw - overlay overlay rw\n" +
			"30 22 8:1 /var/lib/docker/containers/" + id + "/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n", id[:12]},
		{"another's directory, mounted", "30 22 8:1 /var/lib/docker/containers/" + id + "/x /x rw - ext4 /dev/sda1 rw\n", ""},
		{"another form", "x\n\n30 22 8:1 /containers/short/hosts /etc/hosts rw\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := idOf([]byte(c.mounts)); got != c.want || ok != (c.want != "") {
				t.Errorf("%q, %t; want %q", got, ok, c.want)
			}
		})
	}
}
