package resource

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// Command is run in a server's container, with the clients that its image has.
// It has no secret among its arguments, which all users of the host see.
type Command struct {
	Args []string
	// Env has the password.
	Env []string
	// Input is what it reads, unless it reads a dump.
	Input string
}

// mysqlClient calls the first of some programs that the image has: MariaDB's have
// had other names before.
func mysqlClient(names []string, args ...string) []string {
	script := "for p in " + strings.Join(names, " ") + `; do command -v "$p" >/dev/null && exec "$p" "$@"; done; echo "the image has no ` + names[0] + `" >&2; exit 127`
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

var mysqlNames = []string{"mariadb", "mysql"}

// SetPassword returns what gives the server the account's password, to be run
// with one that it may have now. It does no harm to run it twice. Types whose
// servers are told at each start have none.
func (t *Type) SetPassword(a Account, now string) (Command, error) {
	switch t.Name {
	case "postgres":
		verifier, err := scramVerifier(a.Password)
		return Command{
			Args:  []string{"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", a.User, "-d", a.Database},
			Env:   []string{"PGPASSWORD=" + now},
			Input: fmt.Sprintf("ALTER ROLE %q WITH PASSWORD '%s';\n", a.User, verifier),
		}, err
	case "mysql", "mariadb":
		var b strings.Builder
		b.WriteString("SET SESSION sql_mode = '';\n")
		for _, user := range []string{quoteMySQL(a.User) + "@'%'", "'root'@'%'", "'root'@'localhost'"} {
			fmt.Fprintf(&b, "ALTER USER IF EXISTS %s IDENTIFIED BY %s;\n", user, quoteMySQL(a.Password))
		}
		return Command{
			Args:  mysqlClient(mysqlNames, "--user=root", "--batch"),
			Env:   []string{"MYSQL_PWD=" + now},
			Input: b.String(),
		}, nil
	}
	return Command{}, nil
}

// quoteMySQL quotes what may have quotes and backslashes in it.
func quoteMySQL(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// scramVerifier is what PostgreSQL keeps of a password (RFC 5802, RFC 7677): it
// takes that in its place, and so the password gets into no log of statements.
func scramVerifier(password string) (string, error) {
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: see crypto/rand
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(sign("Server Key"))), nil
}
