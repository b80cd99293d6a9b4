package deploy

import (
	"path/filepath"
	"testing"
)

func TestAppOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dir, want string
		// wrong says that it makes no name.
		wrong bool
	}{
		{dir: "shop", want: "shop"},
		{dir: "/srv/My Shop_2.0/", want: "my-shop-2-0"},
		{dir: "-shop-", want: "shop"},
		{dir: "/srv/___", wrong: true},
		{dir: "/", wrong: true},
		{dir: "resource", wrong: true},
		{dir: "a234567890123456789012345678901234567890123456789012345678901234", wrong: true},
	}
	for _, tt := range tests {
		t.Run(filepath.Base(tt.dir), func(t *testing.T) {
			t.Parallel()
			got, err := AppOf(tt.dir)
			if got != tt.want || (err != nil) != tt.wrong {
				t.Errorf("AppOf(%q) = %q, %v; want %q, an error: %t", tt.dir, got, err, tt.want, tt.wrong)
			}
		})
	}
}

// Different resources never share a volume.
func TestVolumeName(t *testing.T) {
	t.Parallel()
	if a, b := volumeName("a-b", "c", "d"), volumeName("a", "b-c", "d"); a == b {
		t.Errorf("both have volume %s", a)
	}
}
