package registry

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// A decoder that has decoded anything before, or failed to, decodes what a new
// one does.
func TestInstanceDecoderKeepsNothing(t *testing.T) {
	t.Parallel()
	key := Key{Kind: KindInstance, Owner: "n", Name: "a"}
	full := `{"id":"a","node":"n","app":"shop","service":"web","namespace":"ns","status":"running","health":"healthy","image":"i","release":"r","command":"c",` +
		`"weight":7,"priority":3,"draining":true,"address":"host","host":"10.0.0.1","started":"2026-01-02T03:04:05Z","observed":"2026-01-02T03:04:05Z",` +
		`"tags":{"a":"b"},"links":["db"],"connect":{"8080":"db.shop"},"resource":{"name":"db","type":"postgres"},"ports":[{"name":"http","protocol":"tcp","container":3000,"bindings":[{"ip":"10.0.0.1","port":40000}]},` +
		`{"name":"dns","protocol":"udp","container":53}],"networks":[{"id":"x","name":"red","scope":"local","ipv4":"172.17.0.2"},{"id":"y","name":"blue","ipv6":"fd00::1"}]}`
	values := []string{
		full,
		`{"id":"a","node":"n","app":"shop","service":"web"}`,
		`{"id":"a","node":"n","app":"shop","service":"web","ports":[{"protocol":"udp","container":1}],"networks":[{"id":"z"}]}`,
		`{"id":"a","node":"n","app":"shop","service":"web","ports":null,"networks":[]}`,
		`{"id":"a","node":"n","app":"shop","service":"web","ports":[{"name":"http","container":70000}]}`,
		`{"id":"b","node":"n","app":"shop","service":"web"}`,
		`{"id":"a","ports":[{"name":"x"`,
		`[]`,
	}
	if _, err := DecodeInstance(key, []byte(full)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var d InstanceDecoder
		for _, v := range rapid.SliceOfN(rapid.SampledFrom(values), 2, 6).Draw(t, "values") {
			is, err := d.Decode(key, []byte(v))
			want, wantErr := DecodeInstance(key, []byte(v))
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s: %v, want %v", v, err, wantErr)
			}
			if err != nil {
				continue
			}
			got := *is
			// None and empty are the same.
			for _, i := range []*Instance{&got, want} {
				if len(i.Ports) == 0 {
					i.Ports = nil
				}
				if len(i.Networks) == 0 {
					i.Networks = nil
				}
			}
			if !reflect.DeepEqual(&got, want) {
				t.Fatalf("%s: %+v, want %+v", v, got, *want)
			}
		}
	})
}
