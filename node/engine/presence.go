package engine

import (
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Presence has the results of the Pings between the engines of the shard, at one moment.
type Presence struct {
	replica.Presence
	Now      protocols.Time
	LoopRuns bool // the own loop had a turn in the last [replica.AnswerAge]; it sends Pings every second
}

// Answering is the number of engines of the shard that answer, this one included.
func (p *Presence) Answering() int {
	n := p.Presence.Answering(p.Now)
	if !p.LoopRuns {
		n--
	}
	return n
}

// Presence returns the newest results.
func (e *Engine) Presence() Presence {
	p := Presence{Presence: *e.presence.Load(), Now: e.clock.now()}
	p.LoopRuns = p.Now.Sub(protocols.Time(e.beat.Load())) <= replica.AnswerAge
	return p
}

// reportPresence makes the results of Pings readable, and logs when the own clock becomes wrong or right.
func (e *Engine) reportPresence(now protocols.Time) {
	e.beat.Store(int64(now))
	if e.presence.Load() != nil && e.presenceVersion == e.driver.Core().PresenceVersion() {
		return
	}
	old := e.presence.Load()
	p, version := e.driver.Core().Presence()
	e.presence.Store(&p)
	e.presenceVersion = version
	for i := range p.Peers {
		if at := p.Peers[i].Answered; at != 0 && (old == nil || at != old.Peers[i].Answered) {
			e.measures.RoundTrip.Observe(p.Peers[i].RoundTrip, 1)
		}
	}
	if old == nil || old.ClockOff == p.ClockOff {
		return
	}
	offset := p.ClockOffset.Round(time.Millisecond).String()
	if p.ClockOff {
		outside.Errorw("the clock is wrong", "own", "shard_ahead_by", offset, "limit", replica.MaxClockOffset.String())
	} else {
		outside.Infow("the clock is right again", "own", "shard_ahead_by", offset)
	}
}

// reportStanding makes the progress of the start and the second processes of peers readable.
func (e *Engine) reportStanding() {
	old := e.standing.Load()
	if s := e.driver.Core().Standing(); old == nil || !s.Equal(old) {
		if old != nil && !old.Running && s.Running {
			logger.Infow("enough peers have answered: the replica may sign", "boot", s.Boot, "answers", s.Answered)
		}
		e.standing.Store(&s)
	}
}

// Standing is the progress of the start.
func (e *Engine) Standing() replica.Standing { return *e.standing.Load() }

// Work is the kind of data that waits for a commit.
type Work string

// The kinds of waiting work.
const (
	NoWork       Work = ""
	Transactions Work = "transactions wait"
	Batches      Work = "a batch waits"
)

// Waiting is the begin of the wait for a commit, the last commit at the earliest, and the kind of the waiting data;
// zero if no data waits.
func (e *Engine) Waiting() (time.Time, Work) { return e.commits.waiting() }
