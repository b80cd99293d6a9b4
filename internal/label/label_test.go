package label_test

import (
	"testing"

	"github.com/rackdns/rackdns/internal/label"
)

func TestOriginOf(t *testing.T) {
	t.Parallel()
	type labels = map[string]string
	resource := []string{label.UpID, label.ResourceName}
	for _, tc := range []struct {
		name             string
		container, image labels
		marks            []string
		want             label.Origin
	}{
		{"nothing", nil, nil, nil, label.Foreign},
		{"labels that anybody writes", labels{label.UpRack: "acme", label.App: "shop"}, nil, nil, label.Foreign},
		{"ours", labels{label.UpID: "X"}, labels{"maintainer": "me"}, nil, label.Ours},
		{"of an image of another of ours", labels{label.UpID: "X"}, labels{label.UpID: "Y"}, nil, label.Ours},
		{"a copy", labels{label.UpID: "X", label.UpHash: "1"}, labels{label.UpID: "X", label.UpHash: "1"}, nil, label.Copied},
		{"a copy with another hash", labels{label.UpID: "X", label.UpHash: "2"}, labels{label.UpID: "X", label.UpHash: "1"}, nil, label.Copied},
		{"older", labels{label.UpHash: "1"}, nil, nil, label.Ours},
		{"a copy of an older one", labels{label.UpHash: "1"}, labels{label.UpHash: "1"}, nil, label.Copied},
		{"older, of an image of ours", labels{label.UpHash: "2"}, labels{label.UpHash: "1"}, nil, label.Ours},
		{"the image's ID and a hash of its own", labels{label.UpID: "X", label.UpHash: "2"}, labels{label.UpID: "X"}, nil, label.Copied},
		{"no mark for those who ask", labels{label.ResourceName: "db"}, nil, nil, label.Foreign},
		{"a mark for those who ask", labels{label.ResourceName: "db"}, nil, resource, label.Ours},
		{"a copy for those who ask", labels{label.ResourceName: "db"}, labels{label.ResourceName: "db"}, resource, label.Copied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := label.OriginOf(tc.container, tc.image, tc.marks...); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}
