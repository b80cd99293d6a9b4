package embedded

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"
)

// History is given up when it takes too much of the quota; what is current
// stays, and what was current too long ago to matter is not given up twice.
func TestUpkeep(t *testing.T) {
	cfg, err := Config{Dir: shortDir(t)}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m, err := startMember(t.Context(), cfg, zap.NewNop(), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	s := m.etcd.Server
	write := func(n int) {
		t.Helper()
		for i := range n {
			_, err := s.Put(t.Context(), &etcdserverpb.PutRequest{Key: fmt.Append(nil, i%2), Value: []byte(strings.Repeat("x", 100_000))})
			if err != nil {
				t.Fatal(err)
			}
		}
		s.Backend().ForceCommit()
	}
	const size = 1 << 22
	u := &upkeep{etcd: s, quota: size}
	look := func() (first int64) {
		t.Helper()
		if err := u.look(context.Background()); err != nil {
			t.Fatal(err)
		}
		return s.KV().FirstRev()
	}
	write(20)
	before := s.KV().FirstRev()
	if first := look(); first != before {
		t.Errorf("at half of the quota history begins at %d, was %d", first, before)
	}
	write(20)
	first := look()
	if first <= before || s.Backend().SizeInUse() > size/4 {
		t.Errorf("near the quota history begins at %d, was %d, and takes %d bytes", first, before, s.Backend().SizeInUse())
	}
	r, err := s.Range(t.Context(), &etcdserverpb.RangeRequest{Key: []byte("1")})
	if err != nil || len(r.GetKvs()) != 1 {
		t.Errorf("what is current: %v, %v", r, err)
	}

	// The alarm is raised by what the file has, which compaction leaves.
	raised := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: uint64(s.MemberID()), Alarm: etcdserverpb.AlarmType_NOSPACE}
	if _, err := s.Alarm(t.Context(), raised); err != nil {
		t.Fatal(err)
	}
	look()
	if n, size := len(s.Alarms()), s.Backend().Size(); n != 0 || size > u.quota {
		t.Errorf("%d alarms, %d bytes", n, size)
	}
	if _, err := s.Alarm(t.Context(), raised); err != nil {
		t.Fatal(err)
	}
	u.quota = s.Backend().Size() / 2
	if err := u.look(context.Background()); err == nil || !strings.Contains(err.Error(), "bytes are in use") || len(s.Alarms()) != 1 {
		t.Errorf("%s is really full: %v, %d alarms", filepath.Base(cfg.Dir), err, len(s.Alarms()))
	}
}
