package env

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/terminal"
)

// Format is how an environment is written.
type Format string

// The formats.
const (
	// Dotenv is what [ReadFile] and most readers of .env files read.
	Dotenv Format = "dotenv"
	// Shell is for eval in a POSIX shell.
	Shell Format = "shell"
	// Docker is for docker's --env-file, which knows no quotes.
	Docker Format = "docker"
	// JSON is one object of strings.
	JSON Format = "json"
)

// Formats are all of them.
var Formats = []Format{Dotenv, Shell, Docker, JSON}

// maxDockerLine is the longest line, its end included, that docker reads.
const maxDockerLine = 64 << 10

// Encode writes variables in a format. What the format can't carry is an error
// that names the variable and never its value.
func Encode(f Format, all []Variable) ([]byte, error) {
	for _, v := range all {
		if err := check(f, v); err != nil {
			return nil, err
		}
	}
	if f == JSON {
		return encodeJSON(all)
	}
	var b bytes.Buffer
	for _, v := range all {
		switch f {
		case Dotenv:
			fmt.Fprintf(&b, "%s=%s\n", v.Name, quoteDotenv(v.Value))
		case Shell:
			fmt.Fprintf(&b, "export %s=%s\n", v.Name, quoteShell(v.Value))
		case Docker:
			fmt.Fprintf(&b, "%s=%s\n", v.Name, v.Value)
		case JSON:
		}
	}
	return b.Bytes(), nil
}

// check returns an error if the format can't carry a variable.
func check(f Format, v Variable) error {
	reason := ""
	switch {
	case !manifest.IsVariable(v.Name):
		return fmt.Errorf("%q is not the name of an environment variable", v.Name)
	case strings.Contains(v.Value, "\x00"):
		reason = "a NUL, which no environment can carry"
	case f == Docker && strings.ContainsAny(v.Value, "\n\r"):
		reason = "a line break, which docker's --env-file can't carry"
	case (f == Docker || f == JSON) && !utf8.ValidString(v.Value):
		reason = fmt.Sprintf("bytes that are not UTF-8, which the format %s can't carry", f)
	case f == Docker && len(v.Name)+len("=")+len(v.Value) >= maxDockerLine:
		reason = "more than docker's --env-file can carry in a line, 64 KiB"
	default:
		return nil
	}
	return errors.New("variable " + v.Name + ": holds " + reason)
}

func encodeJSON(all []Variable) ([]byte, error) {
	values := make(map[string]string, len(all))
	for _, v := range all {
		values[v.Name] = v.Value
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(values)
	return terminal.JSON(b.Bytes()), err
}

// quoteShell makes one word of any bytes: nothing is special between single
// quotes but the single quote.
func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// plain are the characters that mean nothing to any reader of .env files.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@%+?&=~"

// escapes are what stands for a character between double quotes in a .env file.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`, "\r", `\r`)

// quoteDotenv quotes what needs it: readers of .env files agree on what is
// between single quotes as long as that has no quote and no backslash, and less
// on what is between double ones.
func quoteDotenv(s string) string {
	switch {
	case strings.Trim(s, plain) == "":
		return s
	case !strings.ContainsAny(s, "'\\\r"):
		return "'" + s + "'"
	}
	return `"` + escapes.Replace(s) + `"`
}
