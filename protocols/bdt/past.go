package bdt

import (
	"fmt"
	"slices"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/mvba"
)

// maxPast is the largest number of ended epochs that are kept. A replica that lacks an older one catches up by certified
// headers.
const maxPast = 32

// pastEpochs has the ended epochs that other replicas may still ask about: those without a certified header above their last
// block, oldest first.
type pastEpochs struct {
	epochs []*epoch
}

// restorePast restores the parts of the epochs before current that are needed to answer other replicas.
func restorePast(cfg *Config, d *data, chain *chain, current uint64, stored protocols.Stored) (pastEpochs, error) {
	var x pastEpochs
	from, _ := mvba.Records(instance(0))
	to, _ := mvba.Records(instance(current))
	var numbers []uint64
	for key := range stored(from, to) {
		number, err := epochOfRecord(key)
		if err != nil {
			return x, fmt.Errorf("agreement record %x: %w: the store is damaged", key, err)
		}
		if len(numbers) == 0 || numbers[len(numbers)-1] != number {
			numbers = append(numbers, number)
		}
	}
	for _, number := range numbers {
		// The leader and the base of an ended epoch have no use any more: nothing is signed or checked in it.
		e := &epoch{epochStart: epochStart{number: number, base: chain.base}, keys: make(map[string]bool)}
		var err error
		if e.agreement, err = mvba.Restore(cfg.agreement(&e.epochStart), e.collecting(stored)); err != nil {
			return x, err
		}
		if e.bolt, err = bolt.Restore(cfg.bolt(&e.epochStart, d), chain.base, chain.executed, stored); err != nil {
			return x, err
		}
		e.bolt.Leave()
		if e.agreement.Decision() == nil {
			return x, fmt.Errorf("epoch %d ended and its agreement is neither decided nor deleted: the store is damaged", number)
		}
		x.epochs = append(x.epochs, e)
	}
	return x, nil
}

// start starts the agreements of the epochs after a restart.
func (x *pastEpochs) start(now protocols.Time, st *Step) {
	for _, e := range x.epochs {
		e.takeOver(st, e.agreement.Start(now))
	}
}

// add adds the epoch that has just ended. It deletes the records of an epoch without a decision, which ended by certified
// headers, and those of the oldest epochs above maxPast.
func (x *pastEpochs) add(st *Step, ended *epoch) {
	if ended.agreement.Decision() != nil {
		x.epochs = append(x.epochs, ended)
	} else {
		ended.forget(st)
	}
	for len(x.epochs) > maxPast {
		x.epochs[0].forget(st)
		x.epochs = x.epochs[1:]
	}
}

// certified is called when the header of the block last is certified, and with it those of all blocks before it.
//
// A certified header of the last block of an epoch is not enough to forget the epoch: f Byzantine VOTEs and an honest one
// certify it, and then the other replicas may know the decision only from that honest replica. A certified block after
// it shows that f+1 honest replicas have passed it, so that all others can catch up.
func (x *pastEpochs) certified(st *Step, last *bolt.Block) {
	for len(x.epochs) > 0 && x.epochs[0].number < last.Epoch {
		x.epochs[0].forget(st)
		x.epochs = x.epochs[1:]
	}
	for _, e := range x.epochs {
		if e.number == last.Epoch {
			protocols.Absorb(st, e.bolt.Certified(last))
		}
	}
}

// resend sends a peer again the messages of the agreements.
func (x *pastEpochs) resend(st *Step, to protocols.Index) {
	for _, e := range x.epochs {
		protocols.Absorb(st, e.agreement.Resend(to))
	}
}

// oldest is the number of the oldest epoch that is kept, or current if there is none.
func (x *pastEpochs) oldest(current uint64) uint64 {
	if len(x.epochs) > 0 {
		return x.epochs[0].number
	}
	return current
}

// answer handles a message of an ended epoch: the answer is the decision or the requested block.
func (x *pastEpochs) answer(now protocols.Time, st *Step, from protocols.Index, number uint64, msg protocols.Message) {
	k := slices.IndexFunc(x.epochs, func(e *epoch) bool { return e.number == number })
	if k < 0 {
		return // a block after the epoch is certified: a replica that lacks its last block catches up
	}
	e := x.epochs[k]
	switch request := msg.(type) {
	case *bolt.FetchBlock:
		protocols.Absorb(st, e.bolt.HandleFetchBlock(from, request))
	case *bolt.Propose, *bolt.Vote, *bolt.Finalize:
		// No answer: the decision was sent to all, and is sent again when the sender reconnects.
	case *Status:
		protocols.Absorb(st, e.agreement.SendDecision(from))
	default:
		e.takeOver(st, e.agreement.Handle(now, from, msg))
	}
}

// takeOver takes over a step of the agreement of an ended epoch, which only answers messages.
func (e *epoch) takeOver(st *Step, child mvba.Step) {
	e.recordKeys(child)
	protocols.Absorb(st, child)
}
