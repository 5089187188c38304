package replica

import (
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
)

// pinged is a shard of cores that exchange only Pings and Pongs, each with the same delay.
type pinged struct {
	cores []*Core
	walls []*protocols.WallClock
	delay time.Duration
	away  protocols.Set // their loops stand still
	queue []onItsWay
}

type onItsWay struct {
	at       protocols.Time
	from, to protocols.Index
	message  protocols.Message
}

func newPinged(t *testing.T, n int) *pinged {
	b := newBench(t, n, 0, "")
	p := &pinged{delay: 20 * time.Millisecond}
	for i := range protocols.Index(n) {
		w := &protocols.WallClock{}
		cfg := b.config(i)
		cfg.WallClock = w
		core, err := Restore(cfg, b.headers, kv.NewMem())
		if err != nil {
			t.Fatal(err)
		}
		core.Start(t0)
		for j := range protocols.Index(n) {
			if j != i {
				core.Connected(j)
			}
		}
		p.cores, p.walls = append(p.cores, core), append(p.walls, w)
	}
	return p
}

// run advances from one time to another in steps of 10 ms.
func (p *pinged) run(from, to protocols.Time) {
	for now := from; now <= to; now = now.Add(10 * time.Millisecond) {
		var later []onItsWay
		due := p.queue
		p.queue = nil
		for _, x := range due {
			switch {
			case x.at > now || p.away.Has(x.to):
				later = append(later, x)
			default:
				p.take(now, x.to, p.cores[x.to].Handle(now, unverified(x.from, x.message)))
			}
		}
		p.queue = append(p.queue, later...)
		for i, core := range p.cores {
			if w := core.Wake(); !p.away.Has(protocols.Index(i)) && w != 0 && w <= now {
				p.take(now, protocols.Index(i), core.Tick(now))
			}
		}
	}
}

func (p *pinged) take(now protocols.Time, from protocols.Index, st Step) {
	for _, s := range st.Sends {
		if k := s.Message.Kind(); k != KindPing && k != KindPong {
			continue
		}
		for to := range p.cores {
			if i := protocols.Index(to); i != from && (s.To == protocols.Everyone || s.To == protocols.To(i)) {
				p.queue = append(p.queue, onItsWay{now.Add(p.delay), from, i, s.Message})
			}
		}
	}
}

func (p *pinged) presence(i int) Presence {
	x, _ := p.cores[i].Presence()
	return x
}

// TestSilentEnginesAreNoticed: within 4 s after two of four loops stop, the other two count only each other, and count
// four soon after the two continue, though these answer all waiting Pings at once.
func TestSilentEnginesAreNoticed(t *testing.T) {
	p := newPinged(t, 4)
	counts := func(i int, now protocols.Time) int {
		x := p.presence(i)
		return x.Answering(now)
	}
	if got := counts(0, t0); got != 1 {
		t.Errorf("%d answer before anybody was asked", got)
	}
	now := t0.Add(5 * time.Second)
	p.run(t0, now)
	for i := range p.cores {
		if got := counts(i, now); got != 4 {
			t.Errorf("replica %d: %d of 4 answer", i, got)
		}
	}
	if rtt := p.presence(0).Peers[1].RoundTrip; rtt < 40*time.Millisecond || rtt > 60*time.Millisecond {
		t.Errorf("a round trip of %v, of two times 20 ms", rtt)
	}
	p.away.Add(2)
	p.away.Add(3)
	p.run(now, now.Add(4*time.Second))
	now = now.Add(4 * time.Second)
	if got := counts(0, now); got != 2 {
		t.Errorf("4 s after two stopped %d answer", got)
	}
	p.run(now, now.Add(time.Minute))
	now = now.Add(time.Minute)
	p.away = protocols.Set{}
	if got := counts(2, now); got != 1 {
		t.Errorf("a loop that goes on after a minute counts %d by answers from before", got)
	}
	p.run(now, now.Add(2*time.Second))
	now = now.Add(2 * time.Second)
	for i := range p.cores {
		if got := counts(i, now); got != 4 {
			t.Errorf("replica %d: %d of 4 answer 2 s after all go on", i, got)
		}
	}
}

// TestWrongClock: a replica whose clock is off notices it after some Pings, and notices when it is right again. The
// others still find their own clocks right, also with one false Pong.
func TestWrongClock(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour, 700 * time.Millisecond, -700 * time.Millisecond} {
		p := newPinged(t, 4)
		start := t0.Add(10 * time.Hour)
		now := start.Add(5 * time.Second)
		p.run(start, now)
		p.walls[1].Set(off)
		p.run(now, now.Add(5*time.Second))
		now = now.Add(5 * time.Second)
		for i := range p.cores {
			x := p.presence(i)
			if x.ClockOff != (i == 1) {
				t.Errorf("clock of replica 1 %v off: replica %d says %v (%v)", off, i, x.ClockOff, x.ClockOffset)
			}
			if i == 1 && (x.ClockOffset < -off-time.Millisecond || x.ClockOffset > -off+time.Millisecond) {
				t.Errorf("clock %v off: offset %v", off, x.ClockOffset)
			}
		}
		p.walls[1].Set(0)
		p.run(now, now.Add(5*time.Second))
		if x := p.presence(1); x.ClockOff {
			t.Errorf("5 s after the clock was right again it still counts as %v off", x.ClockOffset)
		}
	}
	small := newPinged(t, 4)
	small.walls[1].Set(400 * time.Millisecond)
	small.run(t0, t0.Add(10*time.Second))
	if small.presence(1).ClockOff {
		t.Error("400 ms count as too much")
	}
}

// TestLyingPongs: a false Pong changes only the results of its sender, and a flood of Pings gets few Pongs.
func TestLyingPongs(t *testing.T) {
	b := newBench(t, 4, 0, "")
	core := b.restore(t, 0, nil, kv.NewMem())
	core.Start(t0)
	core.Connected(1)
	core.Tick(t0)
	now := t0.Add(time.Second)
	for _, m := range []*Pong{
		{Sent: uint64(now.Add(time.Hour))}, {Sent: 1}, {Sent: 1 << 63}, {Sent: 0}, {Sent: ^uint64(0), Wall: ^uint64(0)},
	} {
		core.Handle(now, unverified(2, m))
	}
	if x, _ := core.Presence(); x.Answering(now) != 1 {
		t.Error("a Pong for a Ping from the future or from long ago counts")
	}
	core.Handle(now, unverified(3, &Pong{Sent: uint64(now), Wall: ^uint64(0)}))
	core.Handle(now, unverified(2, &Pong{Sent: uint64(now), Wall: uint64(now)}))
	for range 10 {
		core.Tick(core.Wake())
	}
	if x, _ := core.Presence(); x.ClockOff {
		t.Error("one peer's clock makes the own one wrong")
	}
	pongs := 0
	for range 1000 {
		pongs += len(sent[*Pong](core.Handle(now, unverified(1, &Ping{Sent: 5})).Sends))
		now = now.Add(time.Millisecond)
	}
	if pongs > 5 {
		t.Errorf("%d Pongs for 1,000 Pings in a second", pongs)
	}
}
