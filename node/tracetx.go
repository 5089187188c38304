package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/foreign"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

const (
	// traceTime is the time for the answers of all replicas to a trace.
	traceTime = 2 * time.Second
	// maxTrace is the largest answer of one replica, in bytes: some 200 for each of [api.MaxTraceSteps].
	maxTrace = 64 << 10
)

// tracer bounds the work of traces, for clients and for other replicas: one at a time, and a fifth of the time.
type tracer struct {
	place chan struct{} // holds a value while a trace reads
	next  time.Time     // earliest begin of the next one; of the holder of the place
}

func newTracer() *tracer { return &tracer{place: make(chan struct{}, 1)} }

// do calls read when its turn has come. The error says that ctx ended before, or is that of read.
func (t *tracer) do(ctx context.Context, read func() error) error {
	busy := func() error { return fmt.Errorf("other traces are in progress: %w", api.ErrUnavailable) }
	select {
	case t.place <- struct{}{}:
	case <-ctx.Done():
		return busy()
	}
	defer func() { <-t.place }()
	if wait := time.Until(t.next); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return busy()
		}
	}
	began := time.Now()
	err := read()
	t.next = time.Now().Add(4 * time.Since(began))
	return err
}

// Trace implements [api.Backend]. Every answer is a statement of the replica that gives it.
func (b backend) Trace(ctx context.Context, id ledger.TxID, others bool) (api.Trace, error) {
	ctx, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	out := api.Trace{ID: id, Shard: b.home.Shard, Replica: uint16(b.home.Replica), Shards: []uint16{}, Missing: []api.Unreported{}}
	own, err := b.traceHere(ctx, id)
	if err != nil {
		return out, err
	}
	answers := []foreign.TraceAnswer{own}
	if others {
		ask := own.Involved
		if len(ask) == 0 { // not known here: any shard may have it
			for s := range b.home.Genesis.Shards {
				ask = append(ask, uint16(s))
			}
		}
		more, missing := b.askTraces(ctx, id, ask)
		answers, out.Missing = append(answers, more...), missing
	}
	for i := range answers {
		for _, s := range answers[i].Involved {
			if int(s) < len(b.home.Genesis.Shards) && !slices.Contains(out.Shards, s) {
				out.Shards = append(out.Shards, s)
			}
		}
	}
	if len(out.Shards) == 0 {
		return out, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
	}
	slices.Sort(out.Shards)
	involved := func(s uint16) bool { return slices.Contains(out.Shards, s) }
	for i := range answers {
		if involved(answers[i].Shard) {
			out.Replicas = append(out.Replicas, answers[i].ReplicaTrace)
		}
	}
	out.Missing = slices.DeleteFunc(out.Missing, func(m api.Unreported) bool { return !involved(m.Shard) })
	slices.SortFunc(out.Replicas, func(x, y api.ReplicaTrace) int {
		return before(x.Shard, x.Replica, y.Shard, y.Replica)
	})
	slices.SortFunc(out.Missing, func(x, y api.Unreported) int { return before(x.Shard, x.Replica, y.Shard, y.Replica) })
	return out, nil
}

// before compares two replicas by shard and index.
func before(s1, r1, s2, r2 uint16) int {
	if s1 != s2 {
		return int(s1) - int(s2)
	}
	return int(r1) - int(r2)
}

// askTraces asks up to maxReported replicas of each of some shards for their steps, all at once.
func (n *Node) askTraces(ctx context.Context, id ledger.TxID, shards []uint16) (answers []foreign.TraceAnswer, missing []api.Unreported) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range shards {
		reachable := n.net.Reachable(s)
		asked := 0
		for k := range n.network.Committee(s).N() {
			i := protocols.Index(k)
			switch {
			case s == n.home.Shard && i == n.home.Replica:
				continue
			case !slices.Contains(reachable, i):
				missing = append(missing, api.Unreported{Shard: s, Replica: uint16(i), Reason: "no connection"})
				continue
			case asked == maxReported:
				missing = append(missing, api.Unreported{Shard: s, Replica: uint16(i), Reason: fmt.Sprintf("not asked: %d replicas of the shard are", maxReported)})
				continue
			}
			asked++
			wg.Go(func() {
				a, err := n.askTrace(ctx, id, s, i)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					answers = append(answers, a)
					return
				}
				if errors.Is(err, context.DeadlineExceeded) {
					err = fmt.Errorf("no answer within %v", traceTime)
				}
				missing = append(missing, api.Unreported{Shard: s, Replica: uint16(i), Reason: err.Error()})
			})
		}
	}
	wg.Wait()
	return answers, missing
}

// traceVerdicts are the verdicts of a step.
var traceVerdicts = []string{"", ledger.VerdictSpent.String(), ledger.VerdictRejected.String()}

// askTrace asks one replica. From the times of the question and of the answer by both clocks follows the difference of
// the clocks, with an error of at most half of the round trip.
func (n *Node) askTrace(ctx context.Context, id ledger.TxID, s uint16, i protocols.Index) (a foreign.TraceAnswer, err error) {
	call, err := json.Marshal(foreign.Call{Trace: &foreign.Trace{ID: id}})
	if err != nil {
		return a, err
	}
	asked := n.engine.NowUS()
	raw, err := n.peers.Call(ctx, s, i, call, maxTrace)
	answered := n.engine.NowUS()
	if err == nil {
		err = foreign.DecodeReply(raw, &a)
	}
	switch {
	case err != nil:
		return a, err
	case a.Shard != s || a.Replica != uint16(i):
		return a, fmt.Errorf("it answers as replica %d of shard %d", a.Replica, a.Shard)
	case len(a.Steps) > api.MaxTraceSteps:
		return a, fmt.Errorf("an answer with %d steps, at most %d allowed", len(a.Steps), api.MaxTraceSteps)
	}
	for _, x := range a.Steps {
		if !slices.Contains(api.TraceSteps, x.Step) || !slices.Contains(traceVerdicts, x.Verdict) {
			return a, fmt.Errorf("an answer with the step %.32q and the verdict %.32q", x.Step, x.Verdict)
		}
	}
	a.ClockUS = ((a.AskedUS - asked) + (a.AnsweredUS - answered)) / 2
	a.ClockErrorUS = max(0, (answered-asked)-max(0, a.AnsweredUS-a.AskedUS)) / 2
	if a.Steps == nil {
		a.Steps = []api.TracedStep{}
	}
	return a, nil
}

// traceHere has the steps of a transaction at this replica.
func (n *Node) traceHere(ctx context.Context, id ledger.TxID) (foreign.TraceAnswer, error) {
	asked := n.engine.NowUS()
	t := traced{Node: n, id: id, wall: n.engine.WallUS(), search: blockSearch{
		committee: n.committee, store: n.consensus, kinds: n.network.Kinds(n.home.Shard), id: id,
		genesis: bolt.Genesis(n.committee, n.home.Genesis.TimeMS, len(n.home.Genesis.Shards)),
	}}
	t.out.Shard, t.out.Replica = n.home.Shard, uint16(n.home.Replica)
	t.out.SinceUS = n.started.UnixMicro()
	if err := n.tracer.do(ctx, t.read); err != nil {
		return foreign.TraceAnswer{}, err
	}
	t.out.Steps = t.out.Steps[:min(len(t.out.Steps), api.MaxTraceSteps)]
	if t.out.Steps == nil {
		t.out.Steps = []api.TracedStep{}
	}
	t.out.Incomplete = t.search.incomplete
	t.out.AskedUS, t.out.AnsweredUS = asked, n.engine.NowUS()
	return t.out, nil
}

// traced collects the steps of one transaction at this replica.
type traced struct {
	*Node
	id     ledger.TxID
	search blockSearch
	wall   func(protocols.Time) int64 // see [engine.Engine.WallUS]
	out    foreign.TraceAnswer
}

// read reads the steps. The error is a store's.
func (t *traced) read() error {
	part, has, err := t.state.Part(t.id)
	if err != nil {
		return err
	}
	if has {
		return t.across(&part)
	}
	p, known := t.engine.Find(t.id)
	if known && p.Receipt.Height > 0 {
		t.out.Involved = []uint16{t.home.Shard}
		if err := t.ordered(p.Receipt.Height); err != nil {
			return err
		}
		final := api.StepSettled
		if p.Receipt.Verdict != ledger.VerdictSettled {
			final = api.StepRejected
		}
		t.executed(final, p.Receipt.Height)
		return nil
	}
	t.waiting()
	return nil
}

// waiting adds the steps of a transaction that no block has ordered.
func (t *traced) waiting() {
	pool, tx, ok := t.engine.InspectTx(t.id)
	if !ok {
		return
	}
	t.out.Involved = tx.Shards(t.home.Genesis.Home).All().Members()
	if pool.Batch > 0 {
		t.batch(t.home.Replica, pool.Batch, 0)
		return
	}
	s := api.TracedStep{Step: api.StepAdmitted}
	if pool.SinceMS >= 0 {
		s.TimeUS = t.engine.NowUS() - pool.SinceMS*1000
	}
	if pool.Place != admission.PlaceOrphan {
		t.add(s)
	}
}

// across adds the steps of a transaction between shards.
func (t *traced) across(p *ledger.Part) error {
	involved := p.Outputs
	for i := range p.Known {
		involved = involved.With(p.Known[i].Shard)
	}
	t.out.Involved = involved.Members()
	if own := p.Of(t.home.Shard); own != nil && own.Verdict != 0 {
		if err := t.ordered(own.Height); err != nil {
			return err
		}
		s := t.step(api.StepVerdict, own.Height, t.engine.Trace().Block(own.Height).Executed)
		s.Verdict = own.Verdict.String()
		t.add(s)
		for _, peer := range involved.Without(t.home.Shard).Members() {
			t.outgoing(peer, own.Height)
		}
	}
	for i := range p.Known {
		k := &p.Known[i]
		switch {
		case k.Shard == t.home.Shard || k.Height == 0:
		case k.Verdict == 0: // a CL has returned the escrow
			s := t.step(api.StepCancelled, k.Height, t.engine.Trace().Block(k.Height).Committed)
			s.Peer = &k.Shard
			t.add(s)
		default:
			if err := t.incoming(k.Shard, k.Height); err != nil {
				return err
			}
		}
	}
	switch p.Stage {
	case ledger.StageSettled:
		t.executed(api.StepSettled, p.Height)
	case ledger.StageReturned:
		t.executed(api.StepReturned, p.Height)
	case ledger.StageRejected:
		t.executed(api.StepRejected, p.Height)
	case ledger.StagePending, ledger.StageEscrow:
	}
	return nil
}

func (t *traced) add(s api.TracedStep) { t.out.Steps = append(t.out.Steps, s) }

// step is a step in a block, with its time if that is known.
func (t *traced) step(name api.TraceStep, height uint64, at protocols.Time) api.TracedStep {
	return api.TracedStep{Step: name, Height: height, TimeUS: t.us(at)}
}

// us converts a time, 0 if it is not known.
func (t *traced) us(at protocols.Time) int64 {
	if at == 0 {
		return 0
	}
	return t.wall(at)
}

// executed adds a step that the execution of a block makes.
func (t *traced) executed(name api.TraceStep, height uint64) {
	t.add(t.step(name, height, t.engine.Trace().Block(height).Executed))
}

// ordered adds the steps of the batch of a block that has the transaction. A verdict can also be the answer to an LD, and
// then no batch of the block has it.
func (t *traced) ordered(height uint64) error {
	found, err := t.search.batchOf(height)
	if err != nil || found == nil {
		return err
	}
	t.batch(found.lane, found.number, height)
	return nil
}

// batch adds the steps of a batch. The height is 0 if no block has ordered it.
func (t *traced) batch(lane protocols.Index, number, height uint64) {
	log, of := t.engine.Trace(), uint16(lane)
	add := func(name api.TraceStep, first, last protocols.Time) {
		s := api.TracedStep{Step: name, TimeUS: t.us(first), Lane: &of, Number: number}
		if last > first {
			s.UntilUS = t.us(last)
		}
		t.add(s)
	}
	if lane == t.home.Replica {
		b, _ := log.Own(number)
		add(api.StepSubmitted, b.Submitted.First, b.Submitted.Last)
		add(api.StepAdmitted, b.Admitted.First, b.Admitted.Last)
		add(api.StepBatch, b.Made, b.Made)
		if b.Certified != 0 || height == 0 {
			add(api.StepCertified, b.Certified, b.Certified)
		}
	} else {
		at := log.Arrival(lane, number)
		add(api.StepBatch, at, at)
	}
	if height > 0 {
		s := t.step(api.StepOrdered, height, log.Block(height).Committed)
		s.Lane, s.Number = &of, number
		t.add(s)
	}
}

// outgoing adds the LDs to another shard that may have the verdict of a block. They can leave when the header of their
// block is certified.
func (t *traced) outgoing(peer uint16, height uint64) {
	lds := t.engine.Trace().Outgoing(peer, height)
	if len(lds) == 0 {
		t.add(api.TracedStep{Step: api.StepLDOut, Peer: &peer})
	}
	for i := range lds {
		s := t.step(api.StepLDOut, lds[i].Height, t.engine.Trace().Block(lds[i].Height).Certified)
		s.Peer, s.Number = &peer, lds[i].Number
		t.add(s)
	}
}

// incoming adds the steps of the LD of another shard that has the verdict, in the block of a height.
func (t *traced) incoming(source uint16, height uint64) error {
	number, err := t.search.ldOf(source, height)
	if err != nil {
		return err
	}
	ordered := t.step(api.StepLDOrdered, height, t.engine.Trace().Block(height).Committed)
	ordered.Peer, ordered.Number = &source, number
	if number > 0 {
		ld := t.engine.Trace().Incoming(source, number)
		t.add(api.TracedStep{Step: api.StepLDIn, TimeUS: t.us(ld.Arrived), Peer: &source, Number: number})
		t.add(api.TracedStep{Step: api.StepSignQuorum, TimeUS: t.us(ld.Signed), Peer: &source, Number: number})
	}
	t.add(ordered)
	return nil
}
