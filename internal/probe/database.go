package probe

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// probePostgres logs in and asks a query.
func probePostgres(ctx context.Context, at string, u *url.URL, password string) error {
	// Without TLS: it is a connection of the container to itself.
	cfg, err := pgconn.ParseConfig("postgres://" + at + "/?sslmode=disable")
	if err != nil {
		return err
	}
	cfg.User, cfg.Password, cfg.Database = u.User.Username(), password, strings.TrimPrefix(u.Path, "/")
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, "SELECT 1").ReadAll()
	return err
}

// probeMySQL logs in and asks a query.
func probeMySQL(ctx context.Context, at string, u *url.URL, password string) error {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", at, u.User.Username(), password, strings.TrimPrefix(u.Path, "/")
	// What goes wrong is told once, by the error.
	cfg.Logger = log.New(io.Discard, "", 0)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var one int
	return db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// probeRedis logs in, if there is a password, and has the server answer.
func probeRedis(ctx context.Context, at, password string) error {
	var commands [][]string
	if password != "" {
		commands = append(commands, []string{"AUTH", password})
	}
	commands = append(commands, []string{"PING"})
	return converse(ctx, at, func(in *bufio.Reader, out io.Writer) error {
		for _, words := range commands {
			var request strings.Builder
			fmt.Fprintf(&request, "*%d\r\n", len(words))
			for _, w := range words {
				request.WriteString("$" + strconv.Itoa(len(w)) + "\r\n" + w + "\r\n")
			}
			reply, err := ask(in, out, request.String())
			if err == nil && reply != "+OK" && reply != "+PONG" {
				err = fmt.Errorf("%s: %s", words[0], reply)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// probeMemcached has the server say its version.
func probeMemcached(ctx context.Context, at string) error {
	return converse(ctx, at, func(in *bufio.Reader, out io.Writer) error {
		reply, err := ask(in, out, "version\r\n")
		if err == nil && !strings.HasPrefix(reply, "VERSION ") {
			err = errors.New("version: " + reply)
		}
		return err
	})
}

// converse connects, and talks until ctx ends.
func converse(ctx context.Context, at string, talk func(*bufio.Reader, io.Writer) error) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	return talk(bufio.NewReader(io.LimitReader(c, 64<<10)), c)
}

func ask(in *bufio.Reader, out io.Writer, request string) (reply string, err error) {
	if _, err := io.WriteString(out, request); err != nil {
		return "", err
	}
	reply, err = in.ReadString('\n')
	return strings.TrimRight(reply, "\r\n"), err
}
