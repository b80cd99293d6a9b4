package hosts

import (
	"testing"
	"time"
)

func (s *site) testDraw(t *testing.T) {
	for seed := range uint64(3) {
		t0 := time.Now()
		scene := s.Draw(t, seed, Size{Networks: 3, Containers: 6})
		t.Log(time.Since(t0), len(scene.Facts))
		for _, f := range scene.Facts {
			t.Logf("FACT %s spec=%v nets=%v", f, f.Client.Container != nil, f.Bound)
		}
	}
}
