package xshard

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Bounds of the questions for CLs.
const (
	pullAfter = 1 * time.Second // until a transaction in escrow is asked about; then twice as long each time
	pullTries = 3
	maxPulls  = 4096 // transactions in escrow that one shard is asked about; others are not asked about
	// MaxPulled is the number of transactions of one question.
	MaxPulled = 64
)

// pulls are the transactions in escrow here that wait for the verdict of one shard. Its replicas are asked for a CL, since
// gossip may have lost it. The verdict comes without a CL too, so only a few questions are asked.
type pulls struct {
	open      map[digest.Digest]struct{}
	due       [pullTries][]pull // by the number of earlier questions, in the order of time
	asking    bool
	lastAsked int // index of the replica asked last
}

type pull struct {
	id digest.Digest
	at protocols.Time
}

// Escrowed is called when a transaction is in escrow here and waits for the verdicts of these shards.
func (m *Machine) Escrowed(now protocols.Time, id digest.Digest, shards []uint16) {
	for _, s := range shards {
		p := &m.pulls[s]
		if _, have := p.open[id]; have || len(p.open) >= maxPulls {
			continue
		}
		p.open[id] = struct{}{}
		p.due[0] = append(p.due[0], pull{id, now.Add(pullAfter)})
	}
}

// Ended is called when a transaction is not in escrow any more.
func (m *Machine) Ended(id digest.Digest) {
	for s := range m.pulls {
		delete(m.pulls[s].open, id)
	}
}

// wake is the time of the next question, zero if there is none.
func (p *pulls) wake() (at protocols.Time) {
	if p.asking {
		return 0
	}
	for try := range p.due {
		if q := p.next(try); len(q) > 0 {
			at = protocols.Earliest(at, q[0].at)
		}
	}
	return at
}

// next is a queue without the transactions at its front that have ended.
func (p *pulls) next(try int) []pull {
	q := &p.due[try]
	for len(*q) > 0 {
		if _, open := p.open[(*q)[0].id]; open {
			break
		}
		*q = (*q)[1:]
	}
	if len(*q) == 0 {
		*q = nil
	}
	return *q
}

// take returns the transactions to ask about now, at most MaxPulled.
func (p *pulls) take(now protocols.Time) (ids []digest.Digest) {
	for try := pullTries - 1; try >= 0; try-- {
		for len(ids) < MaxPulled {
			q := p.next(try)
			if len(q) == 0 || q[0].at > now {
				break
			}
			id := q[0].id
			p.due[try] = q[1:]
			ids = append(ids, id)
			if try+1 < pullTries {
				p.due[try+1] = append(p.due[try+1], pull{id, now.Add(pullAfter << (try + 1))})
			} else {
				delete(p.open, id)
			}
		}
	}
	return ids
}
