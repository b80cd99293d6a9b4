package registry

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// written is the instance of the design, as another program would write it.
const written = `{"id": "3485248b1d18", "node": "node-1", "app": "shop", "service": "web", "namespace": "shop",
 "release": "RLEUTDHBBKD", "image": "example/web:1", "command": "", "started": "2026-11-20T09:32:51Z",
 "status": "running", "health": "healthy", "draining": false, "host": "10.0.2.10",
 "ports": [{"name": "http", "protocol": "tcp", "container": 3000, "bindings": [{"ip": "10.0.2.10", "port": 47889}]}],
 "networks": [{"id": "5f1c7d2e8a90", "name": "bridge", "scope": "local", "ipv4": "172.17.0.2", "ipv6": ""}],
 "weight": 1, "priority": 0, "tags": {"az": "a"}, "observed": "2026-11-20T09:32:51.123456Z"}`

var writtenKey = Key{Kind: KindInstance, Owner: "node-1", Name: "3485248b1d18"}

// with returns the written instance with one field changed.
func with(t testing.TB, field string, value string) []byte {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(written), &fields); err != nil {
		t.Fatal(err)
	}
	if !json.Valid([]byte(value)) {
		// Not even JSON, so by hand; of two fields of one name the last counts.
		return []byte(strings.TrimSuffix(written, "}") + `, "` + field + `": ` + value + "}")
	}
	fields[field] = json.RawMessage(value)
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInstanceOfTheDesign(t *testing.T) {
	i, err := DecodeInstance(writtenKey, []byte(written))
	if err != nil {
		t.Fatal(err)
	}
	if !i.Serving() || i.Ports[0].Bindings[0].Port != 47889 || i.Networks[0].IPv4 != netip.MustParseAddr("172.17.0.2") || i.Tags["az"] != "a" {
		t.Errorf("decoded to %+v", i)
	}
	b, err := Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeInstance(writtenKey, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(i, again, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("not the same after a round trip:\n%s", diff)
	}
}

func TestDecodeInstanceDefaults(t *testing.T) {
	i, err := DecodeInstance(writtenKey, []byte(`{"id":"3485248b1d18","node":"node-1","app":"shop","service":"web","later":{"x":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if i.Weight != DefaultWeight || i.Namespace != "shop" || i.Serving() {
		t.Errorf("decoded to %+v", i)
	}
}

// TestDecodeWeight: 0 is a weight, and null is none, also after another value was
// decoded into the same memory.
func TestDecodeWeight(t *testing.T) {
	var d InstanceDecoder
	for _, tc := range []struct {
		value string
		want  int
	}{{"0", 0}, {"null", DefaultWeight}, {"100", 100}, {"null", DefaultWeight}, {"1", 1}} {
		i, err := d.Decode(writtenKey, with(t, "weight", tc.value))
		if err != nil {
			t.Errorf("weight %s: %v", tc.value, err)
			continue
		}
		if i.Weight != tc.want {
			t.Errorf("weight %s is %d, want %d", tc.value, i.Weight, tc.want)
		}
		b, err := Encode(*i)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeInstance(writtenKey, b)
		if err != nil || again.Weight != tc.want {
			t.Errorf("weight %s, written and read: %v %v", tc.value, again, err)
		}
	}
	i, err := d.Decode(writtenKey, []byte(`{"id":"3485248b1d18","node":"node-1","app":"shop","service":"web"}`))
	if err != nil || i.Weight != DefaultWeight {
		t.Errorf("no weight after others: %v %v", i, err)
	}
}

// What other programs write can be anything. None of it may get into DNS, and
// each refusal names its reason in one short line.
func TestDecodeInstanceRefuses(t *testing.T) {
	port := func(s string) string {
		return `[{"name":"http","protocol":"tcp","container":3000,"bindings":[` + s + `]}]`
	}
	network := func(v4, v6 string) string {
		return fmt.Sprintf(`[{"id":"5f1c7d2e8a90","name":"bridge","scope":"local","ipv4":%q,"ipv6":%q}]`, v4, v6)
	}
	for _, tc := range []struct{ field, value, want string }{
		{"id", `"UPPER"`, "id"},
		{"id", `""`, "id: is empty"},
		{"id", `"ffffffffffff"`, "contradicts its key"},
		{"node", `"node-2"`, "contradicts its key"},
		{"app", `"my app"`, `app "my app"`},
		{"app", `"` + strings.Repeat("a", 5000) + `"`, "longer than 63"},
		{"app", `"resource"`, "is reserved"},
		{"app", `"a.b"`, `app "a.b"`},
		{"app", `"a\n\u0000b"`, `app "a\n\x00b"`},
		{"service", `"-web"`, `service "-web"`},
		{"service", `"_tcp"`, `service "_tcp"`},
		{"service", `"wéb"`, "service"},
		{"service", `7`, "not the JSON of its kind"},
		{"namespace", `"*"`, `namespace "*"`},
		{"weight", `101`, "weight 101"},
		{"weight", `-1`, "weight -1"},
		{"weight", `NaN`, "not the JSON"},
		{"weight", `1e999`, "not the JSON"},
		{"weight", `1.5`, "not the JSON"},
		{"priority", `65536`, "priority 65536"},
		{"answers", `-1`, "answers -1"},
		{"answers", `1001`, "answers 1001"},
		{"host", `"127.0.0.1"`, "loopback"},
		{"host", `"::1"`, "loopback"},
		{"host", `"::ffff:127.0.0.1"`, "IPv4-mapped"},
		{"host", `"fe80::1%eth0"`, "zone"},
		{"host", `"fe80::1"`, "link-local"},
		{"host", `"here"`, "not the JSON"},
		{"ports", port(`{"ip":"10.0.2.10","port":0}`), "port 0"},
		{"ports", port(`{"ip":"10.0.2.10","port":70000}`), "70000"},
		{"ports", port(`{"ip":"10.0.2.10","port":-1}`), "-1"},
		{"ports", port(`{"ip":"127.0.0.53","port":53}`), "loopback"},
		{"ports", `[{"protocol":"tcp","container":53,"loopback":[{"ip":"10.0.2.10","port":53}]}]`, "no loopback address"},
		{"ports", port(`{"ip":"0.0.0.0","port":53}`), "unspecified"},
		{"ports", port(`{"ip":"::","port":53}`), "unspecified"},
		{"ports", port(`{"ip":"224.0.0.1","port":53}`), "multicast"},
		{"ports", port(`{"ip":"ff02::1","port":53}`), "multicast"},
		{"ports", port(`{"ip":"255.255.255.255","port":53}`), "broadcast"},
		{"ports", port(`{"port":53}`), "is empty"},
		{"ports", `[{"protocol":"tcp","container":0}]`, "port 0"},
		{"ports", `[{"protocol":"sctp","container":1}]`, `"sctp"`},
		{"ports", `[{"name":"a b","protocol":"tcp","container":1}]`, `"a b"`},
		{"networks", network("127.0.0.2", ""), "loopback"},
		{"networks", network("::2", ""), "is not IPv4"},
		{"networks", network("", "10.0.0.1"), "is not IPv6"},
		{"networks", `[{"id":"","name":"bridge"}]`, "has no ID"},
		{"address", `"anywhere"`, `"anywhere"`},
		{"tags", `{"x":"` + strings.Repeat("y", MaxValue) + `"}`, "64 KiB"},
		{"tags", `[]`, "not the JSON"},
	} {
		name := tc.field + "=" + tc.value[:min(len(tc.value), 40)]
		t.Run(name, func(t *testing.T) {
			value := with(t, tc.field, tc.value)
			_, err := DecodeInstance(writtenKey, value)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one that says %s", err, tc.want)
			}
			if len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("error is no short line: %q", err)
			}
		})
	}
}

func TestDecodeAPIInstance(t *testing.T) {
	value := with(t, "node", `"@api"`)
	for _, name := range []string{"shop/web/10.0.2.10~3000", "web~10.0.2.10"} {
		if _, err := DecodeInstance(Key{KindInstance, NodeAPI, name}, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"shop/web/10.0.2.11~3000", "shop/db/10.0.2.10~3000", "bank/web/10.0.2.10~3000", "shop/web/10.0.2.10~3001", "shop/web/10.0.2.10",
		"web~10.0.2.11", "db~10.0.2.10", "web", "3485248b1d18",
	} {
		if _, err := DecodeInstance(Key{KindInstance, NodeAPI, name}, value); err == nil {
			t.Errorf("taken under %s", name)
		}
	}
}

func TestParse(t *testing.T) {
	l, err := NewLayout("/rackdns", "acme")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		key string
		Key
	}{
		{l.Node("n.1"), Key{KindNode, "n.1", ""}},
		{l.Instance("n", "a"), Key{KindInstance, "n", "a"}},
		{l.Instance(NodeAPI, "shop/web/::1~80"), Key{KindInstance, NodeAPI, "shop/web/::1~80"}},
		{l.Instance(NodeAPI, "web~::1"), Key{KindInstance, NodeAPI, "web~::1"}},
		{l.Service("shop", "web"), Key{KindService, "shop", "web"}},
		{l.Resource("", "db"), Key{KindResource, AppRack, "db"}},
	} {
		if got, err := l.Parse(want.key); err != nil || got != want.Key {
			t.Errorf("%s: %v, %v, want %v", want.key, got, err, want.Key)
		}
	}
	for _, key := range []string{
		"", "/", "/rackdns/v1/acme", "/rackdns/v1/acme2/nodes/a", l.Base(), l.Base() + "nodes", l.Base() + "nodes/",
		l.Base() + "nodes/a/b", l.Base() + "instances/a", l.Base() + "instances/a/", l.Base() + "instances//a",
		l.Base() + "instances/a/b/c", l.Instance(NodeAPI, "a/b"), l.Instance(NodeAPI, "a//b"), l.Instance(NodeAPI, "a/b/c/d"),
		l.Base() + "services/@api/a/b/c", l.Base() + "things/a/b", l.Secret("", "db"),
	} {
		if got, err := l.Parse(key); err == nil {
			t.Errorf("%q: %v, want an error", key, got)
		}
	}
}

func TestOverlay(t *testing.T) {
	for _, tc := range []struct{ name, old, want string }{
		{"nothing", ``, `"weight":1`},
		{"no object", `[1]`, `"weight":1`},
		{"another's field", `{"mine":{"a":1},"weight":9}`, `"mine":{"a":1}`},
		{"a field left out now", `{"resource":{"name":"db","type":"mysql"}}`, `"ports":`},
	} {
		i, err := DecodeInstance(writtenKey, []byte(written))
		if err != nil {
			t.Fatal(err)
		}
		b, err := Overlay([]byte(tc.old), i)
		if err != nil || !strings.Contains(string(b), tc.want) || strings.Contains(string(b), "mysql") || !strings.Contains(string(b), `"weight":1`) {
			t.Errorf("%s: %s, %v", tc.name, b, err)
		}
	}
}

// FuzzDecode checks that no value makes a decoder panic, and that what it lets
// pass is fit for DNS and for a second reader.
func FuzzDecode(f *testing.F) {
	f.Add(written)
	f.Add(`{"node":"node-1","engine":"E","addresses":["10.0.0.1"]}`)
	f.Add(`{"app":"shop","service":"web","ports":[{"container":1,"protocol":"tcp"}]}`)
	f.Add(`{"app":"","name":"db","type":"mysql","host":"10.0.0.1","port":3306}`)
	f.Fuzz(func(t *testing.T, value string) {
		_, _ = DecodeNode(Key{Kind: KindNode, Owner: "node-1"}, []byte(value))
		_, _ = DecodeService(Key{Kind: KindService, Owner: "shop", Name: "web"}, []byte(value))
		_, _ = DecodeResource(Key{Kind: KindResource, Owner: AppRack, Name: "db"}, []byte(value))
		i, err := DecodeInstance(writtenKey, []byte(value))
		if err != nil {
			return
		}
		for _, label := range []string{i.ID, i.App, i.Service, i.Namespace} {
			if !IsLabel(label) {
				t.Errorf("label %q passed", label)
			}
		}
		b, err := Encode(i)
		if err != nil {
			t.Fatalf("decoded, but can't be encoded: %v", err)
		}
		if _, err := DecodeInstance(writtenKey, b); err != nil {
			t.Errorf("decoded, but not after encoding: %v", err)
		}
	})
}

// What only looks like an address or a host leads nobody anywhere.
func TestCheckHost(t *testing.T) {
	for _, tc := range []struct{ host, want string }{
		{"10.0.2.10", ""},
		{"fd00::2", ""},
		{"2002:cb00:7101::1", ""},
		{"64:ff9b::203.0.113.1", ""},
		{"64:ff9b:1:c000:201::", ""},
		{"db.example.com", ""},
		{"db.example.com.", ""},
		{"DB_1.example.com", ""},
		{"3485248b1d18", ""},
		{"123456789012", ""},
		{"rds.example.4you", ""},
		{strings.Repeat(strings.Repeat("a", 62)+".", 4) + "x", ""},
		{"", "is empty"},
		{".", "is empty"},
		{"a..b", "empty label"},
		{".a", "empty label"},
		{"a b", "neither an address nor a host name"},
		{"-a.example.com", "neither an address nor a host name"},
		{"münchen.example", "neither an address nor a host name"},
		{strings.Repeat("a", 64) + ".example", "neither an address nor a host name"},
		{strings.Repeat(strings.Repeat("a", 63)+".", 4) + "x", "longer than 253"},
		{"10.0.0.1:5432", "has a field of its own"},
		{"[fd00::2]:5432", "has a field of its own"},
		{"db.example.com:5432", "neither an address nor a host name"},
		{"postgres://db.example.com", "is a URL"},
		{"10.0.3.300", "is no IP address"},
		{"10.0.3", "is no IP address"},
		{"localhost", "is whoever asks"},
		{"LocalHost.", "is whoever asks"},
		{"db.localhost", "is whoever asks"},
		{"127.0.0.1", "loopback"},
		{"0.1.2.3", "0.0.0.0/8"},
		{"250.0.0.1", "240.0.0.0/4"},
		{"255.255.255.255", "broadcast"},
		{"64:ff9b::7f00:1", "stands for 127.0.0.1"},
		{"64:ff9b::", "stands for 0.0.0.0"},
		{"2002:7f00:1::1", "stands for 127.0.0.1"},
		{"2002:e000:1::1", "multicast"},
		{"::127.0.0.1", "stands for 127.0.0.1"},
		{"::2", "0.0.0.0/8"},
		{"fe80::1", "link-local"},
	} {
		err := CheckHost("host", tc.host)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%q: %v", tc.host, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%q: %v, want %q", tc.host, err, tc.want)
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("%q: more than a line: %v", tc.host, err)
		}
	}
}
