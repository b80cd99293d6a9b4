package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/registry"
)

func rackURLCommand() *cobra.Command {
	var (
		f           httpFlag
		hostAddress string
	)
	cmd := &cobra.Command{
		Use:   "rack-url",
		Short: "Print the URL of the HTTP interface, with a token that may do everything",
		Long: `Print the URL of the HTTP interface, with a token that may do everything, for
Convox's client and others. It takes the flags that the server has: where it
listens, whether it speaks TLS, and where its tokens are.`,
		Example: `  export RACK_URL=$(rackdns rack-url)
  curl "$(rackdns rack-url)/api/v1/services"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ip, err := parseHostAddress(hostAddress)
			if err != nil {
				return err
			}
			if err := f.check(cmd.Context(), cmd.Flags(), hostAddress); err != nil {
				return err
			}
			if f.address == "" {
				return usagef("--http %s: there is no URL then", httpOff)
			}
			token, err := httpapi.FirstToken(f.tokens.path())
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: start rackdns standalone or rackdns api first, or say with --data or --http-token-file where it is", err)
			}
			if err != nil {
				return err
			}
			u := url.URL{Scheme: f.scheme(), User: url.UserPassword("convox", token), Host: reachedAt(f.address, ip)}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), u.String())
			return err
		},
	}
	flags := cmd.Flags()
	f.addHTTP(flags)
	flags.StringVar(&f.tokens.data, "data", registry.DefaultDataDir(), "the server's data directory")
	flags.StringVar(&hostAddress, "host-address", "", "address of the server for others, if it listens at all (default loopback)")
	return cmd
}

// reachedAt is where to reach who listens at an address that is perhaps all of
// them.
func reachedAt(listen string, host netip.Addr) string {
	at, err := netip.ParseAddrPort(listen)
	if err != nil || !at.Addr().IsUnspecified() {
		return listen
	}
	if !host.IsValid() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return net.JoinHostPort(host.String(), fmt.Sprint(at.Port()))
}
