package main

import (
	"fmt"
	"runtime"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	etcd "go.etcd.io/etcd/api/v3/version"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and those of what is inside",
		Example: "  rackdns version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "rackdns %s (CoreDNS %s, etcd %s, %s, %s/%s)\n",
				version, coremain.CoreVersion, etcd.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
