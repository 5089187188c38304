package engine

import (
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Presence is which engines of the shard answer, now.
type Presence struct {
	replica.Presence
	Now      protocols.Time
	LoopRuns bool // the own loop handled something in the last [replica.AnswerAge]: it sends Pings every second
}

// Answering is how many engines of the shard answer, the own one included.
func (p *Presence) Answering() int {
	n := p.Presence.Answering(p.Now)
	if !p.LoopRuns {
		n--
	}
	return n
}

// Presence reads which engines answer.
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

// reportStanding makes readable how far the start has come and which peers run twice.
func (e *Engine) reportStanding() {
	old := e.standing.Load()
	if s := e.driver.Core().Standing(); old == nil || !s.Equal(old) {
		if old != nil && !old.Running && s.Running {
			logger.Infow("enough peers have answered: the replica may sign", "boot", s.Boot, "answers", s.Answered)
		}
		e.standing.Store(&s)
	}
}

// Standing reads how far the start has come.
func (e *Engine) Standing() replica.Standing { return *e.standing.Load() }

// Work is what waits for a commit.
type Work string

// The kinds of waiting work.
const (
	NoWork       Work = ""
	Transactions Work = "transactions wait"
	Batches      Work = "a batch waits"
)

// Waiting is since when, since the last commit at the earliest, this replica has known of something to commit, and what
// it is; zero if it knows of nothing.
func (e *Engine) Waiting() (time.Time, Work) { return e.commits.waiting() }
