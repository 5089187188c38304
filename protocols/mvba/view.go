package mvba

import "bdtnode/protocols"

// View is a snapshot of an agreement, for operators. The sets of replicas are those of the current round.
type View struct {
	Round      uint32            `json:"round"`
	Input      bool              `json:"input"`      // this replica has given its input
	Decided    bool              `json:"decided"`    // a decision certificate is here
	DecidedBy  protocols.Index   `json:"decided_by"` // broadcaster of the decided value, if decided
	Values     int               `json:"values"`     // values that are here
	Wanted     int               `json:"wanted"`     // values that were requested and are not here
	Proposals  []protocols.Index `json:"proposals"`  // broadcasters whose Proposal is here
	Echoes     []protocols.Index `json:"echoes"`     // replicas that echoed the own broadcast
	Locks      []protocols.Index `json:"locks"`      // broadcasters whose first-phase proof is here
	Accepts    []protocols.Index `json:"accepts"`    // replicas that accepted the own broadcast
	Finished   []protocols.Index `json:"finished"`   // broadcasters whose broadcast is complete
	Released   bool              `json:"released"`   // this replica has released its share of the coin
	Shares     []protocols.Index `json:"shares"`     // replicas whose share of the coin is here
	Coin       bool              `json:"coin"`       // the coin is known
	Elected    protocols.Index   `json:"elected"`    // broadcaster that the coin elected, if it is known
	PreVoteYes []protocols.Index `json:"pre_votes_yes"`
	PreVoteNo  []protocols.Index `json:"pre_votes_no"`
	VoteYes    []protocols.Index `json:"votes_yes"`
	VoteNo     []protocols.Index `json:"votes_no"`
	WaitsFor   Wait              `json:"waits_for"`
	Missing    []protocols.Index `json:"missing"` // replicas without the message that is waited for
	Needed     int               `json:"needed"`  // number of these messages that are needed further
}

// Wait is the message that a round waits for.
type Wait string

// The messages that a round can wait for, in their order.
const (
	WaitNothing  Wait = "nothing"  // it is decided
	WaitFinish   Wait = "finish"   // n-f complete broadcasts
	WaitShares   Wait = "shares"   // f+1 shares of the coin
	WaitPreVotes Wait = "prevotes" // the proof of the elected broadcast, or n-f no-pre-votes
	WaitVotes    Wait = "votes"    // n-f votes
	WaitValue    Wait = "value"    // the decided value
)

// Inspect takes a snapshot.
func (m *Machine) Inspect() View {
	v := View{Round: m.round, Input: !m.input.IsZero(), Decided: m.outcome.decision != nil, Values: len(m.values.held), Wanted: len(m.values.requested)}
	if m.outcome.decision != nil {
		v.DecidedBy = m.outcome.decision.Leader
	}
	r := m.rounds[m.round]
	if r == nil { // nothing of the round has happened
		r = &round{}
	}
	v.Proposals, v.Locks = present(r.broadcasts.proposals), present(r.broadcasts.locks)
	v.Echoes, v.Accepts = []protocols.Index{}, []protocols.Index{}
	if r.broadcasts.own != nil {
		echoes, accepts := r.broadcasts.echoes.Signers(), r.broadcasts.accepts.Signers()
		v.Echoes, v.Accepts = echoes.Members(), accepts.Members()
	}
	v.Finished, v.Released, v.Shares = r.broadcasts.finished.Members(), r.election.released, []protocols.Index{}
	var shares protocols.Set
	if r.election.toss != nil {
		shares = r.election.toss.Released()
		v.Shares, v.Coin = shares.Members(), r.election.toss.Known()
	}
	if v.Coin {
		v.Elected = r.election.toss.Leader()
	}
	preVoted, voted := protocols.Set{}, protocols.Set{}
	v.PreVoteYes, v.PreVoteNo = byAnswer(r.ballot.preVotes, &preVoted, func(x *PreVote) bool { return x.Yes })
	v.VoteYes, v.VoteNo = byAnswer(r.ballot.votes, &voted, func(x *Vote) bool { return x.Yes })
	m.waits(&v, r, &shares, &preVoted, &voted)
	return v
}

// waits sets the message that the round waits for.
func (m *Machine) waits(v *View, r *round, shares, preVoted, voted *protocols.Set) {
	n, quorum := m.cfg.Committee.N(), m.cfg.Committee.Quorum()
	need := func(w Wait, have *protocols.Set, of int) {
		v.WaitsFor, v.Missing, v.Needed = w, have.Others(n), max(0, of-have.Len())
	}
	switch {
	case v.Decided && m.values.held[m.outcome.decision.Digest] == nil:
		v.WaitsFor, v.Missing = WaitValue, []protocols.Index{}
	case v.Decided:
		v.WaitsFor, v.Missing = WaitNothing, []protocols.Index{}
	case !v.Coin && r.broadcasts.finished.Len() < quorum:
		need(WaitFinish, &r.broadcasts.finished, quorum)
	case !v.Coin:
		need(WaitShares, shares, m.cfg.Coin.Threshold())
	case !r.ballot.voted:
		need(WaitPreVotes, preVoted, quorum)
	default:
		need(WaitVotes, voted, quorum)
	}
}

// present lists the replicas with a message in a list by replica.
func present[T any](list []*T) []protocols.Index {
	out := []protocols.Index{}
	for i, x := range list {
		if x != nil {
			out = append(out, protocols.Index(i))
		}
	}
	return out
}

// byAnswer lists the replicas whose messages say yes and no, and adds both to a set.
func byAnswer[T any](list []*T, all *protocols.Set, yes func(*T) bool) (y, n []protocols.Index) {
	y, n = []protocols.Index{}, []protocols.Index{}
	for i, x := range list {
		switch {
		case x == nil:
			continue
		case yes(x):
			y = append(y, protocols.Index(i))
		default:
			n = append(n, protocols.Index(i))
		}
		all.Add(protocols.Index(i))
	}
	return y, n
}
