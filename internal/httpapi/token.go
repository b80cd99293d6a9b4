package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// TokenFile is the name of the file of tokens in a data directory.
const TokenFile = "http-token"

// What a token can be: long enough not to be guessed, and fit for a header.
const (
	shortestToken = 16
	longestToken  = 256
	mostTokens    = 100
)

// Tokens are those that a file grants rights to: one on each line, followed by the
// rights that it has (names, write, secrets), all if there are none. What follows
// a # at the beginning of a line is a comment. The file is read again when it
// changes.
type Tokens struct{ file *reloaded[[]token] }

// token is the digest of one: comparing digests takes the same time whatever the
// token is.
type token struct {
	digest [sha256.Size]byte
	rights Right
}

// OpenTokens reads a file of tokens.
func OpenTokens(path string, log *slog.Logger) (*Tokens, error) {
	if f, err := os.Stat(path); err == nil && f.Mode().Perm()&0o007 != 0 {
		log.Warn("a file of tokens can be read by everybody on this host: make its mode 0600", "file", path)
	}
	file, err := reload("the file of tokens "+path, log, func() ([]token, error) {
		lines, err := readTokens(path)
		if err != nil {
			return nil, err
		}
		all := make([]token, len(lines))
		for n, l := range lines {
			all[n] = token{sha256.Sum256([]byte(l.token)), l.rights}
		}
		return all, nil
	}, path)
	if err != nil {
		return nil, err
	}
	return &Tokens{file}, nil
}

// rightsOf returns what a token grants, false if it isn't one of ours.
func (t *Tokens) rightsOf(said string) (Right, bool) {
	if t == nil {
		return 0, false
	}
	digest := sha256.Sum256([]byte(said))
	var rights, found int
	for _, is := range t.file.get() {
		same := subtle.ConstantTimeCompare(digest[:], is.digest[:])
		rights |= subtle.ConstantTimeSelect(same, int(is.rights), 0)
		found |= same
	}
	return Right(rights), found == 1
}

// tokenLine is a token as the file has it.
type tokenLine struct {
	token  string
	rights Right
}

// readTokens reads a file of tokens. No error has one of them in it.
func readTokens(path string) ([]tokenLine, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []tokenLine
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(all) == mostTokens {
			return nil, fmt.Errorf("file of tokens %s: has over %d", path, mostTokens)
		}
		l, err := parseToken(words)
		if err != nil {
			return nil, fmt.Errorf("file of tokens %s, line %d: %w", path, n, err)
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("file of tokens %s: has none", path)
	}
	return all, nil
}

func parseToken(words []string) (tokenLine, error) {
	l := tokenLine{token: words[0]}
	if len(l.token) < shortestToken || len(l.token) > longestToken {
		return l, fmt.Errorf("want a token of %d to %d characters", shortestToken, longestToken)
	}
	for _, c := range []byte(l.token) {
		if c <= ' ' || c > '~' {
			return l, errors.New("a token has only letters, digits and signs of ASCII")
		}
	}
	for _, w := range words[1:] {
		r, err := parseRight(w)
		if err != nil {
			return l, fmt.Errorf("after the token: %w", err)
		}
		l.rights |= r
	}
	if l.rights == 0 {
		l.rights = allRights
	}
	return l, nil
}

// FirstToken returns the first of a file's tokens that has all rights, for who
// may read that.
func FirstToken(path string) (string, error) {
	all, err := readTokens(path)
	if err != nil {
		return "", err
	}
	for _, l := range all {
		if l.rights == allRights {
			return l.token, nil
		}
	}
	return "", fmt.Errorf("file of tokens %s: none has all rights", path)
}

// MakeTokenFile makes a file with a token that has all rights, unless there is
// one. Nobody sees half of it.
func MakeTokenFile(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // its mode is 0600
	if err != nil {
		return fmt.Errorf("make file of tokens %s: %w", registry.Quote(path), err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintln(f, rand.Text())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Of two that start at once the first one's stays.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
