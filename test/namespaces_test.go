package test

import (
	"os"
	"os/exec"
	"testing"
)

// Apps whose names the world knows too have short names if they are listed, by
// a flag or by its variable. All others are the world's.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		list func(*exec.Cmd)
	}{
		{"flags", func(cmd *exec.Cmd) {
			cmd.Args = append(cmd.Args, "--namespaces", "shop,local", "--namespaces", "Dev")
		}},
		{"variable", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "RACKDNS_NAMESPACES=local,shop,dev,shop") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRack(t, nil, "--docker", "off")
			cmd := command(t, r.args...)
			tc.list(cmd)
			demand(t, os.Getuid() == 0, "can't give a process another resolv.conf: not root")
			instead(t, cmd)
			r.process = launchCommand(t, cmd)
			ready(t, r.process, r.dns, r.zone)
			for _, app := range []string{"shop", "local", "dev", "app"} {
				register(t, r, app, 1)
				eventually(t, "the instance of "+app, func() error { return resolvesTo(r.dns, r.service("web", app), "10.1.0.0") })
			}
			for short, want := range map[string]string{
				"web.shop.": "10.1.0.0", "web.local.": "10.1.0.0", "web.dev.": "10.1.0.0", "web.app.": ofTheWorld,
			} {
				if err := resolvesTo(r.dns, short, want); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
