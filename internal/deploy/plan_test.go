package deploy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/manifest"
)

// have writes containers as number:hash:release, with a ! behind if it doesn't
// run, and a . if it has done what it had to do.
func have(all ...string) []*existing {
	var list []*existing
	for _, s := range all {
		s, done := strings.CutSuffix(s, ".")
		s, stopped := strings.CutSuffix(s, "!")
		f := strings.Split(s, ":")
		e := &existing{name: s, hash: f[1], release: f[2], running: !stopped && !done, done: done}
		_, _ = fmt.Sscan(f[0], &e.number)
		list = append(list, e)
	}
	return list
}

func (s step) String() string {
	made := fmt.Sprintf("%d:%s", s.number, s.release)
	switch s.action {
	case discard:
		return "discard " + s.container.name
	case keep:
		return "keep " + s.container.name
	case start:
		return "start " + made
	case stop:
		return "stop " + s.container.name
	case ready:
		return "ready " + made
	case replace:
		return "replace " + s.container.name + " by " + made
	}
	return "nothing"
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const hash, release = "new", "R2"
	one := room{over: 1}
	tests := []struct {
		name  string
		count int
		space room
		have  []*existing
		want  []string
	}{
		{"nothing there", 2, one, nil, []string{"start 1:R2", "start 2:R2"}},
		{"nothing wanted", 0, one, nil, nil},
		{"as it should be", 2, one, have("2:new:R1", "1:new:R1"), []string{"keep 1:new:R1", "keep 2:new:R1"}},
		{
			"changed, one by one", 2, one, have("1:old:R1", "2:old:R1"),
			[]string{"start 1:R2", "stop 1:old:R1", "start 2:R2", "stop 2:old:R1"},
		},
		{
			"more, of the release that is there", 3, one, have("1:new:R1"),
			[]string{"keep 1:new:R1", "start 2:R1", "start 3:R1"},
		},
		{"a number that is free", 3, one, have("1:new:R1", "3:new:R1"), []string{"keep 1:new:R1", "keep 3:new:R1", "start 2:R1"}},
		{
			"fewer, the last ones first gone", 1, one, have("1:new:R1", "2:new:R1", "3:new:R1"),
			[]string{"keep 1:new:R1", "stop 2:new:R1", "stop 3:new:R1"},
		},
		{"none any more", 0, one, have("1:new:R1", "2:old:R1"), []string{"stop 2:old:R1", "stop 1:new:R1"}},
		{
			"changed and fewer", 1, one, have("1:old:R1", "2:old:R1"),
			[]string{"start 1:R2", "stop 1:old:R1", "stop 2:old:R1"},
		},
		{
			"changed and more", 3, one, have("1:old:R1"),
			[]string{"start 1:R2", "stop 1:old:R1", "start 2:R2", "start 3:R2"},
		},
		{
			"interrupted", 2, one, have("1:old:R0", "2:old:R0", "1:new:R1"),
			[]string{"keep 1:new:R1", "start 2:R1", "stop 1:old:R0", "stop 2:old:R0"},
		},
		{
			"left by one that was killed", 1, one, have("1:old:R0", "1:new:R1!"),
			[]string{"discard 1:new:R1", "start 1:R2", "stop 1:old:R0"},
		},
		{"ended", 1, one, have("1:new:R1!"), []string{"discard 1:new:R1", "start 1:R2"}},
		{
			"two at a time", 3, room{over: 2}, have("1:old:R1", "2:old:R1", "3:old:R1"),
			[]string{"start 1:R2", "stop 1:old:R1", "start 2:R2", "start 3:R2", "stop 2:old:R1", "stop 3:old:R1"},
		},
		{
			"room for all", 2, room{over: 4, under: 1}, have("1:old:R1", "2:old:R1"),
			[]string{"start 1:R2", "stop 1:old:R1", "start 2:R2", "stop 2:old:R1"},
		},
		{
			"no room besides", 3, room{under: 2}, have("1:old:R1", "2:old:R1", "3:old:R1"),
			[]string{"replace 1:old:R1 by 1:R2", "replace 2:old:R1 by 2:R2", "replace 3:old:R1 by 3:R2"},
		},
		{"no room, and more", 2, alone, have("1:old:R1"), []string{"replace 1:old:R1 by 1:R2", "start 2:R2"}},
		{"done", 1, alone, have("1:new:R1."), []string{"keep 1:new:R1"}},
		{"done what it had to do before", 1, alone, have("1:old:R1."), []string{"discard 1:old:R1", "start 1:R2"}},
		{"alone, new", 1, alone, nil, []string{"start 1:R2"}},
		{"alone, changed", 1, alone, have("1:old:R1"), []string{"replace 1:old:R1 by 1:R2"}},
		{"alone, stopped to be replaced", 1, alone, have("1:old:R1!"), []string{"discard 1:old:R1", "start 1:R2"}},
		{"alone, as it should be", 1, alone, have("1:new:R1"), []string{"keep 1:new:R1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			steps := plan(hash, tt.count, tt.space, tt.have, release, nobodys)
			for _, s := range steps {
				got = append(got, s.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanTimer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		count int
		have  []*existing
		want  []string
	}{
		{"nothing there", 2, nil, []string{"ready 1:R2", "ready 2:R2"}},
		{"as it should be, while one runs", 2, have("1:new:R1", "2:new:R1!"), []string{"keep 1:new:R1", "keep 2:new:R1"}},
		{"changed", 1, have("1:old:R1!"), []string{"stop 1:old:R1", "ready 1:R2"}},
		{"fewer", 1, have("1:new:R1!", "2:new:R1!"), []string{"keep 1:new:R1", "stop 2:new:R1"}},
		{"more", 2, have("1:new:R1!"), []string{"keep 1:new:R1", "ready 2:R2"}},
		{"left by one that was killed", 1, have("1:new:R1!", "1:new:R0!"), []string{"keep 1:new:R0", "stop 1:new:R1"}},
	} {
		var got []string
		for _, s := range planTimer("new", tc.count, tc.have, "R2") {
			got = append(got, s.String())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		minimum, maximum, count int
		want                    room
	}{
		{50, 200, 1, room{over: 1}},
		{50, 200, 4, room{over: 4, under: 2}},
		{50, 150, 3, room{over: 2, under: 1}},
		{100, 110, 1, room{over: 1}},
		{0, 100, 1, alone},
		{0, 100, 3, room{under: 3}},
		{75, 100, 4, room{under: 1}},
		{50, 100, 1, alone}, // something has to give
	} {
		if got := roomOf(manifest.Deployment{Minimum: tc.minimum, Maximum: tc.maximum}, tc.count); got != tc.want {
			t.Errorf("%d to %d %% of %d: %+v, want %+v", tc.minimum, tc.maximum, tc.count, got, tc.want)
		}
	}
}

// The steps of one batch don't wait for each other, and those of the next do.
func TestBatches(t *testing.T) {
	t.Parallel()
	steps := plan("new", 4, room{under: 2}, have("1:old:R1", "2:old:R1", "3:old:R1", "4:old:R1"), "R2", nobodys)
	var batches []int
	for _, s := range steps {
		batches = append(batches, s.batch)
	}
	if diff := cmp.Diff([]int{0, 1, 1, 2}, batches); diff != "" {
		t.Error(diff)
	}
}

func TestInStopOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// have are services with their links; a resource has an @.
		have []string
		want string
	}{
		{"none", nil, ""},
		{"without links, by name backwards", []string{"a", "b"}, "b a"},
		{"who links first", []string{"a", "b:a", "c:b"}, "c b a"},
		{"the other way round", []string{"a:b", "b:c", "c"}, "a b c"},
		{"resources last", []string{"@db", "web", "worker:web"}, "worker web @db"},
		{"a cycle", []string{"a:b", "b:a"}, "a b"},
		{"to itself", []string{"a:a"}, "a"},
		{"to what is not there", []string{"a:gone"}, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var list []*existing
			for _, s := range tt.have {
				name, links, _ := strings.Cut(s, ":")
				e := &existing{service: name, name: name}
				if strings.HasPrefix(name, "@") {
					e.resource = name
				}
				if links != "" {
					e.links = strings.Split(links, ",")
				}
				list = append(list, e)
			}
			var got []string
			for _, e := range inStopOrder(list) {
				got = append(got, e.name)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

// nobodys is that no container but the app's own has such a name.
func nobodys(int) bool { return false }

// A number whose name somebody else's container has is left out, from update to
// update.
func TestForeignNumbers(t *testing.T) {
	t.Parallel()
	foreign := func(n int) bool { return n == 1 || n == 3 }
	tests := []struct {
		name  string
		count int
		have  []*existing
		want  []string
	}{
		{"nothing there", 2, nil, []string{"start 2:R2", "start 4:R2"}},
		{"changed", 1, have("2:old:R1"), []string{"start 2:R2", "stop 2:old:R1"}},
		{"as it should be, by an older version", 1, have("1:new:R1"), []string{"keep 1:new:R1"}},
		{"more", 2, have("2:new:R1"), []string{"keep 2:new:R1", "start 4:R1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range plan("new", tt.count, room{over: 1}, tt.have, "R2", foreign) {
				got = append(got, s.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}
