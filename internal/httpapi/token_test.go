package httpapi_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
)

func TestMakeTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), httpapi.TokenFile)
	if err := httpapi.MakeTokenFile(file); err != nil {
		t.Fatal(err)
	}
	f, err := os.Stat(file)
	if err != nil || f.Mode() != 0o600 {
		t.Fatalf("%v, %v, want mode 0600", f.Mode(), err)
	}
	first, err := httpapi.FirstToken(file)
	if err != nil || len(first) < 20 {
		t.Fatalf("%q, %v", first, err)
	}
	if err := httpapi.MakeTokenFile(file); err != nil {
		t.Fatal(err)
	}
	if again, err := httpapi.FirstToken(file); again != first {
		t.Errorf("a second start made another one, %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("%v, %v is left", left, err)
	}
}

func TestTokenFiles(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2-hunter2"
	for name, tt := range map[string]struct{ text, want string }{
		"one":               {secret + "\n", ""},
		"without a newline": {secret, ""},
		"with rights":       {"# a comment\n\n" + secret + " names write\n", ""},
		"none":              {"# nothing\n\n", "has none"},
		"empty":             {"", "has none"},
		"short":             {secret[:15], "line 1"},
		"long":              {"\n" + strings.Repeat("x", 257), "line 2"},
		"no such right":     {secret + " everything", "names, write or secrets"},
		"not ASCII":         {secret + "é", "ASCII"},
		"a NUL":             {secret + "\x00", "ASCII"},
		"many":              {strings.Repeat(secret+"\n", 101), "over 100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := httpapi.OpenTokens(file, slog.New(slog.DiscardHandler))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file)):
				t.Errorf("%v, want %s and the file", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("%v: has the token in it", err)
			}
		})
	}
}

// A file of tokens that changes counts at once; one that breaks leaves what there
// was, and the log says so without a token.
func TestTokensChange(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("first-token-of-all names\n")
	tokens, err := httpapi.OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	at := listen(t, "127.0.0.1:0", func(cfg *httpapi.Config) { cfg.Tokens = tokens })
	code := func(token string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/names", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x", token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	until := func(what, token string, want int) {
		t.Helper()
		for deadline := time.Now().Add(patience); code(token) != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: never %d", what, want)
			}
		}
	}
	if got := code("first-token-of-all"); got != 200 {
		t.Fatalf("the first token: %d", got)
	}
	write("second-token-of-all names\n")
	until("the new token", "second-token-of-all", 200)
	until("the old token", "first-token-of-all", 401)
	write("short\n")
	until("after it broke", "second-token-of-all", 200)
	if strings.Contains(log.String(), "token-of-all") || strings.Contains(log.String(), "short\n") {
		t.Errorf("the log has a token in it: %s", &log)
	}
}
