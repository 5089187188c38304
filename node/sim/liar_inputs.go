package sim

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// BadInputs proposes invalid inputs to the agreement, with an error in every part of an input, or two inputs to two
// halves. It signs two values wherever one is signed, and invents certificates and a decision.
type BadInputs struct {
	Rate float64 // share of its messages in the agreement

	past     []*mvba.Proposal                // own, of round 1, by epoch
	claims   map[protocols.Index]*bdt.Status // of the newest epoch, of all replicas that left it
	finishes []*mvba.Finish                  // received lately, with their senders
	of       []protocols.Index
	relay    *toss.Relay                    // the newest received
	values   map[digest.Digest][]byte       // its proposals, for replicas that request them
	twins    map[mvba.At]secondProposal     // its second proposals, by round
	votes    map[bolt.Vote]*protocols.Tally // of votes, for a lower QC
	old      *bolt.QC                       // the first of the newest epoch
	lies     lies
}

// secondProposal is a proposal in addition to the correct one.
type secondProposal struct {
	*mvba.Proposal
	what   string // name of its error
	forged bool   // a receiver detects the error without knowledge of the epoch
}

func (a *BadInputs) String() string {
	return fmt.Sprintf("false in %.0f %% of the agreement", 100*a.Rate)
}

func (a *BadInputs) hear(n *node, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *bdt.Status:
		a.left(from, x)
		a.late(n, x.Epoch)
	case *mvba.Finish:
		if a.finishes = append(a.finishes, x); len(a.finishes) > 32 {
			a.finishes, a.of = a.finishes[1:], a.of[1:]
		}
		a.of = append(a.of, from)
	case *toss.Relay:
		a.relay = x
	case *bolt.Vote:
		a.count(n, from, x)
	case *mvba.FetchValue:
		if v := a.values[x.Digest]; v != nil {
			n.s.network.send(int(n.id), int(from), honestly(&mvba.Value{Instance: x.Instance, Value: v})[0])
		}
	}
}

// left records a Status.
func (a *BadInputs) left(from protocols.Index, x *bdt.Status) {
	if a.claims == nil {
		a.claims = make(map[protocols.Index]*bdt.Status)
	}
	a.claims[from] = x
}

// late proposes again, with one more claim than in the first proposal.
func (a *BadInputs) late(n *node, epoch uint64) {
	k := len(a.past) - 1
	if k < 0 || a.past[k].Instance.Epoch != epoch {
		return
	}
	x := a.past[k]
	in, err := bdt.DecodeInput(n.s.committee, slices.Clone(x.Value))
	if err != nil {
		panic(err) // the message is the core's own
	}
	if a.moreClaims(n, in) {
		a.lies.told("more claims than a quorum")
		value := in.Encode()
		for j := range n.s.nodes {
			if j != int(n.id) {
				n.s.network.send(int(n.id), j, honestly(&mvba.Proposal{At: x.At, Value: value, Digest: mvba.DigestOf(value)})[0])
			}
		}
	}
}

// count makes QCs of votes, and keeps the first of each epoch.
func (a *BadInputs) count(n *node, from protocols.Index, x *bolt.Vote) {
	if a.old != nil && a.old.Epoch >= x.Epoch {
		return
	}
	at := bolt.Vote{Epoch: x.Epoch, Slot: x.Slot, Digest: x.Digest}
	t := a.votes[at]
	if t == nil {
		if a.votes == nil || len(a.votes) > 1000 {
			a.votes = make(map[bolt.Vote]*protocols.Tally)
		}
		t = protocols.NewTally(x.Digest)
		a.votes[at] = t
	}
	if t.Add(from, x.Signature) && t.Len() == n.s.committee.Quorum() {
		a.old = &bolt.QC{Epoch: x.Epoch, Slot: x.Slot, Digest: x.Digest, Certificate: t.Certificate()}
	}
}

func (a *BadInputs) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	rng := n.s.rng
	if x, ok := m.(*bdt.Status); ok {
		a.left(n.id, x)
	}
	at, ok := placeOf(m)
	if !ok || rng.Float64() >= a.Rate {
		return honestly(m)
	}
	right := honestly(m)
	besides := func(lie []packet) []packet {
		if rng.IntN(2) == 0 {
			return append(lie, right...)
		}
		return append(right, lie...)
	}
	other := invented(rng.Uint64N(3))
	switch x := m.(type) {
	case *mvba.Proposal:
		return a.propose(n, to, x)
	case *mvba.Echo:
		a.lies.told("echoes another value")
		return besides(honestly(n.signEcho(at, x.Broadcaster, other)))
	case *mvba.Accept:
		a.lies.told("accepts another value")
		return besides(honestly(n.signAccept(at, x.Broadcaster, other)))
	case *mvba.Lock:
		a.lies.told("a forged first-phase proof")
		s := n.signEcho(at, n.id, x.Digest).Signature
		return append(forged(&mvba.Lock{At: at, Digest: x.Digest, Echoes: n.certificate(n.s.committee.Quorum(), s)}, "a forged first-phase proof"), right...)
	case *mvba.Finish:
		a.lies.told("a forged second-phase proof")
		return append(forged(&mvba.Finish{At: at, Digest: other, Accepts: x.Accepts}, "another value's second-phase proof"), right...)
	case *mvba.PreVote:
		a.lies.told("pre-votes two things")
		if x.Yes || rng.IntN(3) > 0 {
			return besides(honestly(n.signNoPreVote(at, x.Leader)))
		}
		return besides(honestly(n.signNoPreVote(at, protocols.Index(rng.IntN(n.s.committee.N())))))
	case *mvba.Vote:
		return a.vote(n, x, right, besides)
	case *toss.Relay:
		return append(right, a.decide(n, at)...)
	}
	return right
}

// vote sends a no in place of a yes, if it has a proof for the no; hides the key; or votes on another leader.
func (a *BadInputs) vote(n *node, x *mvba.Vote, right []packet, besides func([]packet) []packet) []packet {
	v := *x
	if x.Yes {
		a.lies.told("votes on another leader")
		v.Leader = protocols.Index((int(x.Leader) + 1) % n.s.committee.N())
		v.Signature = n.acceptance(x.At, v.Leader, v.Digest)
		return append(forged(&v, "a yes-vote with another leader's proof"), right...)
	}
	a.lies.told("votes no without its key")
	v.Key = nil
	return besides(honestly(n.signNoVote(&v)))
}

// decide invents a decision: on a broadcast that completed and was not elected, or on none.
func (a *BadInputs) decide(n *node, at mvba.At) []packet {
	if a.relay == nil || roundOfName(a.relay.Name) != at {
		return nil
	}
	shares := a.relay.Shares
	v, err := n.s.coin.Combine(a.relay.Name.Statement(n.s.committee), &shares)
	if err != nil {
		panic(err) // they were verified
	}
	for k, f := range a.finishes {
		if f.At == at && a.of[k] != v.Leader(n.s.committee.N()) {
			a.lies.told("decides what was not elected")
			return forged(&mvba.Decision{At: at, Leader: a.of[k], Digest: f.Digest, Accepts: f.Accepts, Coin: shares}, "a decision on what was not elected")
		}
	}
	a.lies.told("decides by itself")
	d := &mvba.Decision{At: at, Leader: v.Leader(n.s.committee.N()), Digest: invented(1), Coin: shares}
	d.Accepts = n.certificate(n.s.committee.Quorum(), n.acceptance(at, d.Leader, d.Digest))
	return forged(d, "a decision by one replica")
}

// propose sends different values to different replicas, or an invalid value. In a later round it is a digest.
func (a *BadInputs) propose(n *node, to protocols.Index, x *mvba.Proposal) []packet {
	rng := n.s.rng
	if a.twins == nil || len(a.twins) > 100 {
		a.twins = make(map[mvba.At]secondProposal)
		a.values = make(map[digest.Digest][]byte)
	}
	twin, known := a.twins[x.At]
	if !known {
		twin = a.twin(n, x)
		a.twins[x.At] = twin
		if x.Round == 1 {
			a.past = append(a.past, x)
		}
	}
	if twin.Proposal == nil {
		return honestly(x)
	}
	a.lies.told(twin.what)
	lie := honestly(twin.Proposal)
	if twin.forged {
		lie = forged(twin.Proposal, twin.what)
	}
	switch {
	case rng.IntN(4) == 0:
		return append(lie, honestly(x)...)
	case to%2 == 0:
		return lie
	}
	return honestly(x)
}

// twin is the second proposal besides x, or none.
func (a *BadInputs) twin(n *node, x *mvba.Proposal) secondProposal {
	rng := n.s.rng
	if x.Round > 1 {
		d := invented(uint64(x.Round))
		if len(a.past) > 0 && rng.IntN(2) == 0 {
			old := a.past[rng.IntN(len(a.past))]
			d = old.Digest
			a.values[d] = old.Value
		}
		if d == x.Digest {
			return secondProposal{}
		}
		return secondProposal{&mvba.Proposal{At: x.At, Digest: d, Justification: x.Justification}, "another value in a later round", x.Justification.Key != nil}
	}
	if len(a.past) > 0 && rng.IntN(8) == 0 {
		old := a.past[rng.IntN(len(a.past))]
		return secondProposal{&mvba.Proposal{At: x.At, Value: old.Value, Digest: old.Digest}, "an input of another epoch", false}
	}
	value, what, isForged := slices.Clone(x.Value), "an input cut off", true
	if rng.IntN(12) == 0 {
		value = value[:rng.IntN(len(value))]
	} else {
		in, err := bdt.DecodeInput(n.s.committee, value)
		if err != nil {
			panic(err) // the message is the core's own
		}
		if what, isForged = a.spoil(n, in); what == "" {
			return secondProposal{}
		}
		value = in.Encode()
	}
	d := mvba.DigestOf(value)
	a.values[d] = value
	return secondProposal{&mvba.Proposal{At: x.At, Value: value, Digest: d}, what, isForged}
}

// spoil changes an input. what is the name of the error, empty if there was nothing to change. isForged says whether
// the input alone shows the error.
//
//nolint:cyclop // one case for each kind of error
func (a *BadInputs) spoil(n *node, in *bdt.Input) (what string, isForged bool) {
	rng := n.s.rng
	lane := rng.IntN(len(in.Cut))
	switch rng.IntN(12) {
	case 0:
		in.Claims = in.Claims[1:]
		return "too few claims", false
	case 1:
		in.Claims = slices.Insert(in.Claims, 0, in.Claims[0])
		return "a claim twice", true
	case 2:
		if in.QC != nil {
			in.QC, in.Block = nil, nil
			return "no QC", false
		}
	case 3:
		if a.old != nil && in.QC != nil && a.old.Epoch == in.Epoch && a.old.Slot < in.QC.Slot {
			in.QC = a.old
			return "a lower QC than claimed", false
		}
	case 4:
		if in.Block != nil {
			b := *in.Block
			b.TimeMS++
			in.Block = n.sealed(&b)
			return "another block than the QC's", false
		}
	case 5:
		in.Cut[lane] = lanes.Tip{Seq: in.Cut[lane].Seq + 1, Digest: invented(2)}
		return "a cut above what is certified", false
	case 6:
		if t := n.before(protocols.Index(lane), in.Cut[lane]); t != in.Cut[lane] {
			in.Cut[lane] = t
			return "a cut below what is claimed", false
		}
	case 7:
		if len(in.Certificates) > 0 {
			in.Certificates = in.Certificates[1:]
			return "a certificate less", false
		}
	case 8:
		if k := len(in.Certificates); k > 0 {
			c := *in.Certificates[k-1]
			if int(c.Lane)+1 < n.s.committee.N() {
				c.Lane++
				in.Certificates = append(in.Certificates, &c)
				return "another lane's certificate more", true
			}
		}
	case 9:
		in.Inbound = append(in.Inbound, lanes.Tip{})
		return "a channel too many", false
	case 10:
		in.Claims[rng.IntN(len(in.Claims))].TimeMS++
		return "a claim that was not signed so", true
	}
	for k := range in.Claims {
		if c := &in.Claims[k]; c.Replica == n.id { // a Byzantine replica may claim anything
			c.TimeMS += 1 + rng.Uint64N(1000)
			c.Signature = n.signStatus(&bdt.Status{Claim: c.Claim}).Signature
			return "a second input", false
		}
	}
	return "", false
}

// moreClaims adds a valid claim to an input, if there is another.
func (a *BadInputs) moreClaims(n *node, in *bdt.Input) bool {
	for i := range protocols.Index(n.s.committee.N()) {
		s := a.claims[i]
		k, have := slices.BinarySearchFunc(in.Claims, i, func(c bdt.SignedClaim, i protocols.Index) int { return int(c.Replica) - int(i) })
		if s != nil && s.Epoch == in.Epoch && !have {
			in.Claims = slices.Insert(in.Claims, k, bdt.SignedClaim{Replica: i, Claim: s.Claim, Signature: s.Signature})
			return true
		}
	}
	return false
}
