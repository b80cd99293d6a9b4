package deploy

import (
	"testing"

	"github.com/docker/docker/api/types/network"
)

func TestGateway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config network.IPAMConfig
		want   string
	}{
		{"said", network.IPAMConfig{Subnet: "172.18.0.0/16", Gateway: "172.18.0.9"}, "172.18.0.9"},
		{"not said", network.IPAMConfig{Subnet: "172.17.0.0/16"}, "172.17.0.1"},
		{"IPv6", network.IPAMConfig{Subnet: "fd00::/64"}, "fd00::1"},
		{"nothing", network.IPAMConfig{}, "invalid IP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := gateway(tt.config).String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
