// Command shop is both services of the example in this directory: what it does
// depends on which links and resources its environment has.
//
// As hello it says which container it is. As web it is linked to hello and has
// a Redis named visits: it passes on what hello says and counts its visits.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	log.Printf("%s of %s in rack %s listens on port %s", os.Getenv("SERVICE"), os.Getenv("APP"), os.Getenv("RACK"), os.Getenv("PORT"))
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

func serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	text, err := reply(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, text)
}

func reply(ctx context.Context) (string, error) {
	hello := os.Getenv("HELLO_URL")
	if hello == "" {
		id, err := os.Hostname()
		return "hello from " + id, err
	}
	said, err := get(ctx, hello)
	if err != nil {
		return "", err
	}
	visits, err := count(ctx, os.Getenv("VISITS_URL"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, visit %s", said, visits), nil
}

func get(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	// A connection that is kept would keep to one instance.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

// count adds one to a number in Redis and returns it.
func count(ctx context.Context, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("VISITS_URL: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := fmt.Fprint(conn, "INCR visits\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(line), ":")
	if !ok {
		return "", fmt.Errorf("redis: %s", strings.TrimSpace(line))
	}
	return number, nil
}
