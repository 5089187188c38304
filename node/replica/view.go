package replica

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/vouch"
)

// View is a snapshot of a core, for operators.
type View struct {
	Consensus bdt.View       `json:"consensus"`
	Headers   certify.View   `json:"headers"`
	CatchUp   CatchUpView    `json:"catch_up"`
	Start     StartView      `json:"start"`
	Peers     []PeerView     `json:"peers"`    // other replicas of the shard
	Evidence  []EvidenceView `json:"evidence"` // against other shards, kept and not ordered yet
	Vouching  vouch.View     `json:"vouching"` // knowledge of the signatures of batches
	// Unknown is the height of the first committed block that waits for knowledge of the signatures of its batches, 0 if
	// there is none.
	Unknown uint64 `json:"unknown"`
}

// CatchUpView is the state of catching up. Heights are 0 if unknown.
type CatchUpView struct {
	Behind  bool      `json:"behind"`   // others had certified more at the last comparison
	Lacks   uint64    `json:"lacks"`    // first height without a committed block or a certified header here
	Target  uint64    `json:"target"`   // highest height that f+1 other replicas have shown
	StillMS int64     `json:"still_ms"` // time since Lacks last grew, or since no other replica was ahead
	Asked   []AskView `json:"asked"`    // requests for certified blocks without an answer
}

// AskView is a request for certified blocks without an answer.
type AskView struct {
	Replica protocols.Index `json:"replica"`
	From    uint64          `json:"from"` // first height requested
	AgeMS   int64           `json:"age_ms"`
}

// StartView is the progress of the start, see [Standing].
type StartView struct {
	Boot     uint64     `json:"boot"` // number of this start, 0 if the replica trusts its store
	Signs    bool       `json:"signs"`
	Answered int        `json:"answered"` // peers that answered this start
	Needed   int        `json:"needed"`
	Twins    []TwinView `json:"twins"` // peers that run as two processes
}

// TwinView is a second process of a peer.
type TwinView struct {
	Replica protocols.Index `json:"replica"`
	Boot    uint64          `json:"fenced_boot"`
	Kept    uint64          `json:"kept_boot"`
	AgoMS   int64           `json:"ago_ms"`
}

// PeerView is another replica of the shard, by its answers to Pings and its messages.
type PeerView struct {
	Replica     protocols.Index `json:"replica"`
	Answers     bool            `json:"answers"`       // its engine answered a Ping sent in the last 3 s
	AnsweredMS  int64           `json:"answered_ms"`   // age of the newest answered Ping, 0 if none was answered
	RoundTripUS int64           `json:"round_trip_us"` // of that Ping, microseconds
	ClockMS     int64           `json:"clock_ms"`      // time by which its clock is ahead of the own one, 0 if unknown
	Shown       uint64          `json:"shown"`         // height that it showed to be certified
}

// EvidenceView is evidence against another shard that is not ordered yet.
type EvidenceView struct {
	Source  uint16 `json:"source"`
	Bytes   int    `json:"bytes"`
	InBatch bool   `json:"in_batch"` // a batch of the own lane has it
}

// SignedLD is the number of the highest LD of a source shard that f+1 replicas signed, 0 if there is none.
func SignedLD(c *Core, source uint16) uint64 { return c.bdt.SignedLD(source) }

// Inspect takes a snapshot of a core.
func Inspect(c *Core, now protocols.Time) View {
	s := c.Standing()
	v := View{
		Consensus: c.bdt.Inspect(now), Headers: c.certify.Inspect(),
		CatchUp: CatchUpView{Behind: c.catchup.lagging, Lacks: c.lacks(), Target: c.target(), StillMS: protocols.AgeMS(now, c.catchup.progress), Asked: []AskView{}},
		Start:   StartView{Boot: s.Boot, Signs: c.signs(), Answered: s.Answered, Needed: s.Needed, Twins: []TwinView{}},
		Peers:   []PeerView{}, Evidence: []EvidenceView{}, Vouching: c.Vouching.machine.Inspect(),
	}
	if waiting := c.Vouching.waiting; len(waiting) > 0 {
		v.Unknown = waiting[0].Block.Height
	}
	for i, a := range c.catchup.asks {
		if a.from != 0 {
			v.CatchUp.Asked = append(v.CatchUp.Asked, AskView{protocols.Index(i), a.from, protocols.AgeMS(now, a.at)})
		}
	}
	for _, t := range s.Twins {
		v.Start.Twins = append(v.Start.Twins, TwinView{t.Replica, t.Boot, t.Kept, protocols.AgeMS(now, t.At)})
	}
	presence, _ := c.Presence()
	for i := range presence.Peers {
		if protocols.Index(i) == c.cfg.Self {
			continue
		}
		p := &presence.Peers[i]
		x := PeerView{
			Replica: protocols.Index(i), Answers: p.answers(now), AnsweredMS: protocols.AgeMS(now, p.Answered),
			RoundTripUS: p.RoundTrip.Microseconds(), Shown: c.shown(protocols.Index(i)),
		}
		if p.Compared {
			x.ClockMS = p.Ahead.Milliseconds()
		}
		v.Peers = append(v.Peers, x)
	}
	for i := range c.evidence.pending {
		p := &c.evidence.pending[i]
		v.Evidence = append(v.Evidence, EvidenceView{p.source, len(p.content), p.told})
	}
	return v
}
