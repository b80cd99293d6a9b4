package hosts

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

// seed draws what one wants to see again, or something new each time.
var (
	seed  = flag.Uint64("hosts.seed", 0, "what the first scene is drawn from; 0 is the time")
	draws = flag.Int("hosts.draws", 1, "how many scenes are drawn")
)

// settling is how long what is to be reached may take until it is.
const settling = 15 * time.Second

func firstSeed() uint64 {
	if *seed == 0 {
		return uint64(time.Now().UnixNano()) % 100_000
	}
	return *seed
}

// The rules meet what is drawn at random. Every endpoint of every instance is
// dialled from everywhere.
func (s *site) testDraw(t *testing.T) {
	first := firstSeed()
	for i := range uint64(*draws) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) {
			scene := s.Draw(t, first+i, Size{Networks: 3, Containers: 4})
			var said, unsaid, reachable int
			for _, f := range scene.Facts {
				want := rules{s}.expects(f.Client, f.Endpoint)
				// The machine may be busy, and IPv6 takes a while to find neighbours.
				for end := time.Now().Add(settling); want == yes && !f.Reachable && time.Now().Before(end); {
					f = s.Reach(f.Client, f.Endpoint)
				}
				switch {
				case want == unknown:
					unsaid++
				case f.Reachable != (want == yes):
					t.Errorf("%s -> %s on %v, bound to %v: want reachable %v", describe(f.Client), f, f.Instance.Spec.Networks, f.Bound, want == yes)
					fallthrough
				default:
					said++
				}
				if f.Reachable {
					reachable++
				}
			}
			t.Logf("%d facts, %d reachable, %d beyond the rules", len(scene.Facts), reachable, unsaid)
			if said < 4*unsaid || reachable == 0 || reachable == len(scene.Facts) {
				t.Errorf("the rules say something of %d facts, and nothing of %d; %d are reachable", said, unsaid, reachable)
			}
		})
	}
}
