package main

import (
	"errors"
	"strings"
	"testing"
)

func TestListenAddresses(t *testing.T) {
	everywhere := anyAddress()
	if strings.Contains(everywhere, ":") {
		everywhere = "[" + everywhere + "]"
	}
	tests := []struct {
		given, want string // want has what begins with it
		usage       bool
	}{
		{given: "127.0.0.1:53", want: "127.0.0.1:53"},
		{given: "[::1]:0053", want: "[::1]:53"},
		{given: "[fe80::1%eth0]:53", want: "[fe80::1%eth0]:53"},
		{given: ":53", want: everywhere + ":53"},
		{given: "localhost:1053", want: "127.0.0.1:1053"},
		{given: "nonsense", usage: true},
		{given: "127.0.0.1", usage: true},
		{given: "127.0.0.1:", usage: true},
		{given: "127.0.0.1:65536", usage: true},
		{given: "127.0.0.1:-1", usage: true},
		{given: "127.0.0.1:dns", usage: true},
		{given: "10.0.0.300:53", usage: true},
		{given: "a..b:53", usage: true},
		{given: "http://a:53", usage: true},
		{given: "nowhere.invalid:53"},
	}
	for _, tt := range tests {
		t.Run(tt.given, func(t *testing.T) {
			got, err := listenAddresses(t.Context(), "dns", tt.given)
			if tt.want != "" {
				if err != nil || got[0] != tt.want {
					t.Errorf("%v, %v; want %s", got, err, tt.want)
				}
				return
			}
			var usage usageError
			if err == nil || !strings.HasPrefix(err.Error(), `--dns "`+tt.given+`": `) || errors.As(err, &usage) != tt.usage {
				t.Errorf("%v, %v; want an error that names the flag and its value, wrong usage: %t", got, err, tt.usage)
			}
		})
	}
}
