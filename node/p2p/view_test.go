package p2p

import (
	"context"
	"errors"
	"testing"
	"time"

	"bdtnode/protocols"
)

// of is the view of a replica of the own shard.
func (d *node) of(i protocols.Index) MemberView {
	d.t.Helper()
	for _, v := range d.Inspect() {
		if v.Shard == d.cfg.Shard && v.Index == i {
			return v
		}
	}
	d.t.Fatalf("replica %d has no view", i)
	return MemberView{}
}

// TestMemberViews: the view of a connected member has its connection and counts the frames of its sessions alone; that of a
// member that was never reached has the failure.
func TestMemberViews(t *testing.T) {
	a, b, c := trio(t, nil)
	a.eventually("frames of replica 1", func() bool {
		b.Send(0, Bulk, make([]byte, 1000))
		v := a.of(1)
		return v.Class[Bulk].FramesIn > 0
	})
	v := a.of(1)
	if !v.Connected || v.Network != "tcp" || v.Direction == "" || v.Remote == "" || v.Connections == 0 || v.OpenedAt.IsZero() || v.SessionAt.IsZero() || time.Since(v.HeardAt) > patience {
		t.Errorf("%+v", v)
	}
	if v.Class[Bulk].BytesIn != 1000*v.Class[Bulk].FramesIn || a.of(2).Class[Bulk].FramesIn != 0 {
		t.Errorf("%+v, and of replica 2 %+v", v.Class, a.of(2).Class)
	}
	out := b.of(0)
	if out.Class[Bulk].FramesOut == 0 || (v.Direction == "inbound") != (out.Direction == "outbound") {
		t.Errorf("%s and %s", v.Direction, out.Direction)
	}
	a.eventually("a failure to reach replica 3", func() bool { return a.of(3).Failed > 0 })
	if v := a.of(3); v.Connected || v.Trouble == "" || v.TroubleAt.IsZero() || !v.HeardAt.IsZero() || v.Remote != "" {
		t.Errorf("%+v", v)
	}
	c.stop()
	a.eventually("the end of replica 2", func() bool { v := a.of(2); return !v.Connected && v.Trouble != "" })
	if len(a.Inspect()) != 3 {
		t.Errorf("%d members", len(a.Inspect()))
	}
}

// TestBannedMemberView: a banned member has the end of its ban and the violation.
func TestBannedMemberView(t *testing.T) {
	a, b, _ := trio(t, nil, func(d *node) {
		d.receive = func(_ protocols.Index, _ Class, frame []byte) error {
			if string(frame) == "garbage" {
				return errors.New("not a message")
			}
			return nil
		}
	})
	a.eventually("the ban", func() bool {
		b.Send(0, Control, []byte("garbage"))
		return !a.of(1).BannedUntil.IsZero()
	})
	if v := a.of(1); v.Trouble == "" {
		t.Errorf("%+v", v)
	}
}

// TestPing: a ping measures the round trip to a connected member, and is an error for one that is not connected.
func TestPing(t *testing.T) {
	a, _, c := trio(t, nil)
	took, err := a.Ping(t.Context(), 0, 1)
	if err != nil || took <= 0 {
		t.Errorf("%v %v", took, err)
	}
	for _, to := range []protocols.Index{0, 3} { // itself, and one that does not run
		if _, err := a.Ping(t.Context(), 0, to); !errors.Is(err, ErrNotConnected) {
			t.Errorf("replica %d: %v", to, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Ping(ctx, 0, 1); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
