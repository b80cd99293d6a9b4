package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func openAt(t *testing.T, endpoints []string) *registry.Client {
	t.Helper()
	c, err := registry.Open(registry.Config{Endpoints: endpoints, Rack: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// An app's environment is kept byte for byte, with its history, and those who
// change it at the same time don't undo each other's changes.
func TestSetEnvironment(t *testing.T) {
	t.Parallel()
	c := openAt(t, etcdtest.Start(t, 1, nil).Endpoints())
	ctx := t.Context()
	if all, err := c.AppEnvironment(ctx, "shop"); err != nil || len(all) != 0 {
		t.Errorf("of an app without one: %v, %v", all, err)
	}
	odd := map[string]string{"URL": "https://u:p@h/?a=1&b=2", "QUOTES": `"'` + "`", "EMPTY": "", "SPACES": "  x  ", "UTF": "é\xff"}
	odd["UTF"] = "é"
	first, err := c.SetEnvironment(ctx, "shop", "first", func(all map[string]string) error { maps.Copy(all, odd); return nil })
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.AppEnvironment(ctx, "shop")
	if diff := cmp.Diff(odd, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	same, err := c.SetEnvironment(ctx, "shop", "again", func(all map[string]string) error { all["EMPTY"] = ""; return nil })
	if err != nil || same.Release != first.Release {
		t.Errorf("what changes nothing made a release: %+v, %v", same, err)
	}
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			if _, err := c.SetEnvironment(ctx, "shop", "", func(all map[string]string) error {
				all[fmt.Sprintf("N%d", n)] = "x"
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err = c.AppEnvironment(ctx, "shop"); err != nil || len(got) != len(odd)+10 {
		t.Errorf("after ten at once: %d variables, %v", len(got), err)
	}
	for n := range 30 {
		if _, err := c.SetEnvironment(ctx, "shop", "", func(all map[string]string) error { all["LAST"] = fmt.Sprint(n); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.EnvironmentReleases(ctx, "shop")
	if err != nil || len(all) != registry.KeptReleases {
		t.Errorf("%d releases are kept, %v", len(all), err)
	}
	if of, err := c.Environment(ctx, "shop", all[1].Release); err != nil || of["LAST"] != "28" {
		t.Errorf("the one before: %q, %v", of["LAST"], err)
	}
	// Those of engines are others.
	if err := c.AddRelease(ctx, &registry.Release{App: "shop", Release: "RXXXXXXXXXX", Engine: "e"}, map[string]string{"LAST": "other"}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.AppEnvironment(ctx, "shop"); err != nil || got["LAST"] != "29" {
		t.Errorf("after a release of an engine: %q, %v", got["LAST"], err)
	}
	if err := c.ForgetReleases(ctx, "shop", "e"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.AppEnvironment(ctx, "shop"); err != nil || got["LAST"] != "29" {
		t.Errorf("after down: %q, %v", got["LAST"], err)
	}
}

// What can't be kept, or read back by line, is refused without its value, and
// changes nothing.
func TestEnvironmentRefusals(t *testing.T) {
	t.Parallel()
	c := openAt(t, etcdtest.Start(t, 1, nil).Endpoints())
	const secret = "hunter2"
	for name, value := range map[string]string{
		"": secret, "1A": secret, "A B": secret, "A=B": secret, "A\n": secret, "É": secret,
		"LINES": secret + "\nb", "CR": secret + "\r", "NUL": secret + "\x00", "LARGE": secret + strings.Repeat("x", registry.MaxValue),
	} {
		_, err := c.SetEnvironment(t.Context(), "shop", "", func(all map[string]string) error { all[name] = value; return nil })
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", name, err)
		}
	}
	own := errors.New("own")
	if _, err := c.SetEnvironment(t.Context(), "shop", "", func(map[string]string) error { return own }); !errors.Is(err, own) {
		t.Errorf("%v", err)
	}
	if all, err := c.EnvironmentReleases(t.Context(), "shop"); err != nil || len(all) > 0 {
		t.Errorf("%d releases, %v", len(all), err)
	}
	for text, want := range map[string]map[string]string{
		"A=b\n\nC=d=e\n": {"A": "b", "C": "d=e"}, "": {}, "A": nil, "A=\x00": nil, "=x": nil, "A= \"x\" ": {"A": ` "x" `},
	} {
		if got, err := registry.ParseEnvironment(text); (err == nil) != (want != nil) || err == nil && !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
