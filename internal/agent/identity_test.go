package agent

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

var (
	testStart = time.Date(2026, 11, 20, 9, 32, 51, 0, time.UTC)
	testHome  = home{node: "node-1", addr: testHost}
)

const testID = "3485248b1d18f00d3485248b1d18f00d3485248b1d18f00d3485248b1d18f00d"

// plain returns the facts of a container with nothing special about it.
func plain(change func(*facts)) *facts {
	f := &facts{
		id:          testID,
		name:        "web-1",
		image:       "example/web:1",
		status:      registry.StatusRunning,
		started:     testStart,
		labels:      map[string]string{},
		stopSignal:  15,
		stopTimeout: defaultStopTimeout,
		mode:        modeBridge,
		attachments: []attachment{{
			name: "bridge", id: "5f1c7d2e8a90aaaa", scope: "local", ipv4: netip.MustParseAddr("172.17.0.2"),
		}},
	}
	if change != nil {
		change(f)
	}
	return f
}

// labelled returns the facts of a container with labels.
func labelled(labels map[string]string) *facts {
	return plain(func(f *facts) { maps.Copy(f.labels, labels) })
}

type labels = map[string]string

// identity is who an instance is.
type identity struct{ App, Service, Namespace string }

func TestIdentity(t *testing.T) {
	long := strings.Repeat("a", 64)
	compose := labels{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
	swarm := labels{"com.docker.stack.namespace": "shop", "com.docker.swarm.service.name": "shop_web"}
	convox := labels{"convox.app": "shop", "convox.name": "web"}
	with := func(base, more labels) labels {
		l := maps.Clone(base)
		maps.Copy(l, more)
		return l
	}
	expose := func(f *facts) { f.exposed = []portKey{{3000, "tcp"}} }
	tests := []struct {
		name   string
		labels labels
		env    map[string]string
		change func(*facts)
		want   identity
		// refused is a part of the reason in words.
		refused string
	}{
		// 6. nothing but the container's name
		{name: "name", want: identity{"default", "web-1", "default"}},
		{name: "name with underscores and capitals", change: func(f *facts) { f.name = "Quirky_Einstein" },
			want: identity{"default", "quirky-einstein", "default"}},
		{name: "name with a dot", change: func(f *facts) { f.name = "web.v1" }, want: identity{"default", "web-v1", "default"}},
		{name: "name that ends in a dot", change: func(f *facts) { f.name = "web." }, refused: `the container's name="web." can't be a name`},
		{name: "label with a dot", labels: labels{"rackdns.service": "web.v1"}, refused: `label rackdns.service="web.v1" can't be a name`},
		{name: "compose with dots", labels: labels{"com.docker.compose.project": "shop", "com.docker.compose.service": "web.ui"},
			want: identity{"shop", "web-ui", "shop"}},
		{name: "name that begins with an underscore", change: func(f *facts) { f.name = "_web" }, refused: "inner dashes"},
		{name: "name is a label too long", change: func(f *facts) { f.name = long }, refused: "longer than 63"},
		{name: "name as long as a label can be", change: func(f *facts) { f.name = long[:63] },
			want: identity{"default", long[:63], "default"}},

		// 5. Compose
		{name: "compose", labels: compose, want: identity{"shop", "web", "shop"}},
		{name: "compose with underscores", labels: labels{"com.docker.compose.project": "my_shop", "com.docker.compose.service": "web_ui"},
			want: identity{"my-shop", "web-ui", "my-shop"}},
		{name: "compose project only", labels: labels{"com.docker.compose.project": "shop"}, want: identity{"shop", "web-1", "shop"}},
		{name: "compose project reserved", labels: with(compose, labels{"com.docker.compose.project": "resource"}), refused: "is reserved"},
		{name: "compose project dns", labels: with(compose, labels{"com.docker.compose.project": "DNS"}), refused: "is reserved"},

		// 4. Swarm
		{name: "swarm", labels: swarm, want: identity{"shop", "web", "shop"}},
		{name: "swarm before compose", labels: with(compose, labels{"com.docker.stack.namespace": "s", "com.docker.swarm.service.name": "s_api"}),
			want: identity{"s", "api", "s"}},
		{name: "swarm service without a stack", labels: labels{"com.docker.swarm.service.name": "my_web"}, want: identity{"default", "my-web", "default"}},
		{name: "swarm stack is no prefix", labels: labels{"com.docker.stack.namespace": "sh", "com.docker.swarm.service.name": "shop_web"},
			want: identity{"sh", "shop-web", "sh"}},
		{name: "swarm service is called as the stack", labels: labels{"com.docker.stack.namespace": "shop", "com.docker.swarm.service.name": "shop"},
			want: identity{"shop", "shop", "shop"}},

		// 3. registrator
		{name: "SERVICE_NAME variable", env: labels{"SERVICE_NAME": "api"}, want: identity{"default", "api", "default"}},
		{name: "SERVICE_NAME label", labels: labels{"SERVICE_NAME": "api"}, want: identity{"default", "api", "default"}},
		{name: "SERVICE_NAME label before variable", labels: labels{"SERVICE_NAME": "label"}, env: labels{"SERVICE_NAME": "env"},
			want: identity{"default", "label", "default"}},
		{name: "SERVICE_NAME within compose's app", labels: compose, env: labels{"SERVICE_NAME": "api"}, want: identity{"shop", "api", "shop"}},
		{name: "SERVICE_NAME before swarm", labels: swarm, env: labels{"SERVICE_NAME": "api"}, want: identity{"shop", "api", "shop"}},
		{name: "SERVICE_NAME that is none", env: labels{"SERVICE_NAME": "My Service"}, refused: `environment variable SERVICE_NAME="My Service"`},
		{name: "SERVICE_port_NAME of the only port", env: labels{"SERVICE_3000_NAME": "api"}, change: expose, want: identity{"default", "api", "default"}},
		{name: "SERVICE_port_NAME of tcp and udp on one number", env: labels{"SERVICE_53_NAME": "dns-server"},
			change: func(f *facts) { f.exposed = []portKey{{53, "tcp"}, {53, "udp"}} }, want: identity{"default", "dns-server", "default"}},
		{name: "SERVICE_port_NAME of one of two ports", env: labels{"SERVICE_3000_NAME": "api"},
			change: func(f *facts) { f.exposed = []portKey{{3000, "tcp"}, {4000, "tcp"}} }, want: identity{"default", "web-1", "default"}},
		{name: "SERVICE_port_NAME of another port", env: labels{"SERVICE_4000_NAME": "api"}, change: expose, want: identity{"default", "web-1", "default"}},
		{name: "SERVICE_NAME before SERVICE_port_NAME", env: labels{"SERVICE_NAME": "a", "SERVICE_3000_NAME": "b"}, change: expose,
			want: identity{"default", "a", "default"}},

		// 2. convox
		{name: "convox", labels: convox, want: identity{"shop", "web", "shop"}},
		{name: "convox.service", labels: labels{"convox.app": "shop", "convox.service": "web"}, want: identity{"shop", "web", "shop"}},
		{name: "convox.name before convox.service", labels: with(convox, labels{"convox.service": "other"}), want: identity{"shop", "web", "shop"}},
		{name: "convox namespace", labels: with(convox, labels{"convox.namespace": "front"}), want: identity{"shop", "web", "front"}},
		{name: "convox type service", labels: with(convox, labels{"convox.type": "service"}), want: identity{"shop", "web", "shop"}},
		{name: "convox before all below", labels: with(with(compose, swarm), labels{"convox.app": "c", "convox.name": "n"}),
			env: labels{"SERVICE_NAME": "env"}, want: identity{"c", "n", "c"}},
		{name: "convox app over compose's service", labels: with(compose, labels{"convox.app": "c"}), want: identity{"c", "web", "c"}},
		{name: "convox namespace reserved", labels: with(convox, labels{"convox.namespace": "dns"}), refused: "namespace"},

		// 1. rackdns
		{name: "rackdns", labels: labels{"rackdns.app": "a", "rackdns.service": "s", "rackdns.namespace": "n"}, want: identity{"a", "s", "n"}},
		{name: "rackdns.service over compose", labels: with(compose, labels{"rackdns.service": "front"}), want: identity{"shop", "front", "shop"}},
		{name: "rackdns.app over compose", labels: with(compose, labels{"rackdns.app": "store"}), want: identity{"store", "web", "store"}},
		{name: "rackdns.namespace over compose", labels: with(compose, labels{"rackdns.namespace": "store"}), want: identity{"shop", "web", "store"}},
		{name: "rackdns.namespace over convox", labels: with(convox, labels{"convox.namespace": "c", "rackdns.namespace": "r"}),
			want: identity{"shop", "web", "r"}},
		{name: "convox namespace is convox's app's", labels: with(convox, labels{"convox.namespace": "shop", "rackdns.app": "copy"}),
			want: identity{"copy", "web", "copy"}},
		{name: "convox namespace over compose's app", labels: with(compose, labels{"convox.namespace": "front"}), want: identity{"shop", "web", "front"}},
		{name: "an empty label counts as absent", labels: with(compose, labels{"rackdns.app": "", "rackdns.service": ""}), want: identity{"shop", "web", "shop"}},
		{name: "capitals", labels: labels{"rackdns.app": "Shop", "rackdns.service": "WEB_UI"}, want: identity{"shop", "web-ui", "shop"}},
		{name: "a bad label is not replaced by a good one below", labels: with(compose, labels{"rackdns.service": "web ui"}), refused: `label rackdns.service="web ui"`},
		{name: "a bad label below a good one is nothing", labels: labels{"rackdns.service": "web", "convox.name": "??"}, want: identity{"default", "web", "default"}},

		// what tries to harm
		{name: "path separators", labels: labels{"rackdns.app": "../../other"}, refused: "only a-z, 0-9 and inner dashes"},
		{name: "another rack's name", labels: labels{"rackdns.app": "acme.convox"}, refused: "only a-z, 0-9 and inner dashes"},
		{name: "control characters", labels: labels{"rackdns.service": "web\x1b[2J\n"}, refused: `"web\x1b[2J\n"`},
		{name: "5,000 characters", labels: labels{"rackdns.service": strings.Repeat("x", 5000)}, refused: "(5000 bytes)"},
		{name: "not UTF-8", labels: labels{"rackdns.service": "\xff\xfe"}, refused: "can't be a name"},
		{name: "wildcard", labels: labels{"rackdns.service": "*"}, refused: "can't be a name"},
		{name: "the API's node", labels: labels{"rackdns.app": "@api"}, refused: "can't be a name"},
		{name: "letters that only look so", labels: labels{"rackdns.service": "wеb"}, refused: "can't be a name"},
		{name: "capital of another alphabet", labels: labels{"rackdns.service": "\u212Aafka"}, refused: "can't be a name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(plain(func(f *facts) {
				maps.Copy(f.labels, tt.labels)
				f.env = tt.env
				if tt.change != nil {
					tt.change(f)
				}
			}), testHome)
			if tt.refused != "" {
				if d.refusal == nil || d.refusal.Reason != ReasonName || !strings.Contains(d.refusal.Detail, tt.refused) {
					t.Fatalf("refusal = %+v, want one for its name that says %q", d.refusal, tt.refused)
				}
				if len(d.refusal.Detail) > 400 {
					t.Errorf("reason of %d bytes fills the log", len(d.refusal.Detail))
				}
				return
			}
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			got := identity{d.instance.App, d.instance.Service, d.instance.Namespace}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeftOut(t *testing.T) {
	oneOff := labels{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
	tests := []struct {
		name   string
		labels labels
		env    map[string]string
		want   Reason
	}{
		{"nothing", nil, nil, ""},
		{"ignore true", labels{"rackdns.ignore": "true"}, nil, ReasonIgnored},
		{"ignore 1", labels{"rackdns.ignore": "1"}, nil, ReasonIgnored},
		{"ignore without a value", labels{"rackdns.ignore": ""}, nil, ReasonIgnored},
		{"ignore please", labels{"rackdns.ignore": "please"}, nil, ReasonIgnored},
		{"ignore false", labels{"rackdns.ignore": "False"}, nil, ""},
		{"ignore 0", labels{"rackdns.ignore": "0"}, nil, ""},
		{"ignore no", labels{"rackdns.ignore": " no "}, nil, ""},
		{"SERVICE_IGNORE", nil, labels{"SERVICE_IGNORE": "yes"}, ReasonIgnored},
		{"SERVICE_IGNORE label", labels{"SERVICE_IGNORE": "false"}, nil, ReasonIgnored},
		{"SERVICE_IGNORE empty", nil, labels{"SERVICE_IGNORE": ""}, ""},
		{"our own label is above it", labels{"rackdns.ignore": "false"}, labels{"SERVICE_IGNORE": "1"}, ""},
		{"compose run", oneOff, nil, ""},
		{"compose one-off", labels{"com.docker.compose.oneoff": "True"}, nil, ReasonOneOff},
		{"compose one-off in small letters", labels{"com.docker.compose.oneoff": "true"}, nil, ReasonOneOff},
		{"compose up", labels{"com.docker.compose.oneoff": "False"}, nil, ""},
		{"one-off with our labels, copied from its service", labels{"com.docker.compose.oneoff": "True", "rackdns.service": "web"}, nil, ReasonOneOff},
		{"convox service", labels{"convox.type": "service"}, nil, ""},
		{"convox timer", labels{"convox.type": "timer"}, nil, ReasonProcessType},
		{"convox build", labels{"convox.type": "build"}, nil, ReasonProcessType},
		{"convox one-off", labels{"convox.type": "oneoff"}, nil, ReasonProcessType},
		{"convox resource", labels{"convox.type": "resource"}, nil, ReasonProcessType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := labelled(tt.labels)
			f.env = tt.env
			d := decide(f, testHome)
			var got Reason
			if d.refusal != nil {
				got = d.refusal.Reason
			}
			if got != tt.want {
				t.Errorf("reason = %q (%+v), want %q", got, d.refusal, tt.want)
			}
		})
	}
}
