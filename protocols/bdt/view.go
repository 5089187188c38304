package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// View is a snapshot of the consensus of one replica, for operators.
type View struct {
	Epoch     uint64            `json:"epoch"`
	Leader    protocols.Index   `json:"leader"`
	Failed    []protocols.Index `json:"failed_leaders"` // leaders that are skipped because their epochs ended early
	Base      uint64            `json:"base_height"`    // height with which the epoch began
	Committed uint64            `json:"committed"`      // height of the last committed block
	Delivered uint64            `json:"delivered"`      // height of the last block handed to the executor
	Executed  uint64            `json:"executed"`
	Lags      bool              `json:"lags"` // execution is so far behind that this replica votes for no new block
	FastLane  bolt.View         `json:"fast_lane"`
	Patience  PatienceView      `json:"patience"`
	End       *EndView          `json:"end"`             // end of the epoch; null before a Status of the epoch is here
	Past      int               `json:"past_epochs"`     // ended epochs that are kept for answers
	Future    []int             `json:"future_messages"` // by replica: messages of the next epoch that are kept
	Lanes     []lanes.View      `json:"-"`
	Inbound   []inbound.View    `json:"-"`
}

// PatienceView is the time that pending work may wait, and the work that counts against it.
type PatienceView struct {
	LimitMS     int64      `json:"limit_ms"`
	MeanMS      int64      `json:"mean_ms"`      // smoothed time from pending to committed, 0 before the first sample
	DeviationMS int64      `json:"deviation_ms"` // of that time
	CeilingMS   int64      `json:"ceiling_ms"`   // bound in this epoch
	EmptyEpochs uint       `json:"empty_epochs"` // epochs in a row without a commit by their leader
	Marks       []MarkView `json:"marks"`        // one for each lane, each channel and the slots, of those with pending work
}

// MarkView is the first pending position in a lane, a channel or the slots.
type MarkView struct {
	Of        string `json:"of"`       // "lane", "channel" or "slots"
	Number    int    `json:"number"`   // of the lane or the source shard, 0 for the slots
	Position  uint64 `json:"position"` // number in the lane or channel, or slot
	WaitingMS int64  `json:"waiting_ms"`
	CertSent  bool   `json:"certificate_sent"` // the leader was sent its certificate; the patience counts from then
	DueMS     int64  `json:"due_ms"`           // time until the certificate is sent, or until this replica leaves the epoch
}

// EndView is the end of the current epoch.
type EndView struct {
	Left      bool              `json:"left"` // this replica has left the epoch
	Statuses  []StatusView      `json:"statuses"`
	Missing   []protocols.Index `json:"missing"`  // replicas without a Status here
	Needed    int               `json:"needed"`   // number of further Status that are needed for an input
	Proposed  bool              `json:"proposed"` // this replica gave its input to the agreement
	Decided   bool              `json:"decided"`  // the decided value is here; the blocks up to it are fetched or executed
	Agreement mvba.View         `json:"agreement"`
}

// StatusView is a replica's Status.
type StatusView struct {
	Replica protocols.Index `json:"replica"`
	Slot    uint64          `json:"slot"`    // highest slot with a QC there
	TimeMS  uint64          `json:"time_ms"` // clock of the replica, Unix milliseconds
	Counts  bool            `json:"counts"`  // the block of that slot is here or committed
	Lanes   []uint64        `json:"lanes"`   // certified tips above the last commit there, by lane, 0 for none
	Inbound []uint64        `json:"inbound"` // the same by source shard
}

// Inspect takes a snapshot.
func (m *Machine) Inspect(now protocols.Time) View {
	v := View{
		Epoch: m.current.number, Leader: m.current.leader, Failed: []protocols.Index{}, Base: m.current.base.Height,
		Committed: m.chain.base.Height, Delivered: m.chain.delivered.Height, Executed: m.chain.executed, Lags: m.chain.lags(),
		FastLane: m.current.bolt.Inspect(now), Patience: m.waiting.view(now, &m.data), End: m.current.view(m.cfg.Committee),
		Past: len(m.past.epochs), Lanes: m.data.lanes.Inspect(now), Inbound: m.data.inbound.Inspect(),
	}
	for _, f := range m.current.failed {
		v.Failed = append(v.Failed, f.replica)
	}
	for _, kept := range m.future.kept {
		v.Future = append(v.Future, len(kept))
	}
	return v
}

// view describes the patience and the pending positions in the lanes and channels of d and in the slots.
func (w *waiting) view(now protocols.Time, d *data) PatienceView {
	p, limit := &w.patience, w.patience.limit()
	v := PatienceView{
		LimitMS: limit.Milliseconds(), MeanMS: p.mean.Milliseconds(), DeviationMS: p.deviation.Milliseconds(),
		CeilingMS: p.ceiling.Milliseconds(), EmptyEpochs: p.emptyEpochs, Marks: []MarkView{},
	}
	for k := range w.marks {
		mark := &w.marks[k]
		if mark.since == 0 {
			continue
		}
		x := MarkView{Of: "slots", Position: mark.position, WaitingMS: protocols.AgeMS(now, mark.since), CertSent: mark.certSent != 0,
			DueMS: protocols.UntilMS(now, mark.deadline(limit))}
		switch {
		case k < d.n:
			x.Of, x.Number = "lane", k
		case k < d.n+d.shards:
			x.Of, x.Number = "channel", k-d.n
		}
		v.Marks = append(v.Marks, x)
	}
	return v
}

// view is nil before the first Status of the epoch and the first message of its agreement.
func (e *epoch) view(c *protocols.Committee) *EndView {
	agreement := e.agreement.Inspect()
	if e.left == 0 && !agreement.Decided && len(agreement.Proposals) == 0 {
		return nil
	}
	v := &EndView{Left: e.status != nil, Statuses: []StatusView{}, Proposed: e.proposed, Decided: e.decided != nil, Agreement: agreement}
	var have protocols.Set
	counted := 0
	for i, s := range e.statuses {
		if s == nil {
			continue
		}
		have.Add(protocols.Index(i))
		x := StatusView{Replica: protocols.Index(i), Slot: s.Slot, TimeMS: s.TimeMS, Lanes: numbers(s.Cut), Inbound: numbers(s.Inbound),
			Counts: s.Slot <= e.bolt.CommittedSlot() || e.bolt.Block(s.Slot, s.Digest) != nil}
		if x.Counts {
			counted++
		}
		v.Statuses = append(v.Statuses, x)
	}
	v.Missing = have.Others(c.N())
	v.Needed = max(0, c.Quorum()-counted)
	return v
}

func numbers(cut lanes.Cut) []uint64 {
	out := make([]uint64, len(cut))
	for i := range cut {
		out[i] = cut[i].Seq
	}
	return out
}
