package adversary

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/network"
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

	tally
	past     []*mvba.Proposal                // own, of round 1, by epoch
	claims   map[protocols.Index]*bdt.Status // of the newest epoch, of all replicas that left it
	finishes []*mvba.Finish                  // received lately, with their senders
	of       []protocols.Index
	relay    *toss.Relay                // the newest received
	values   map[digest.Digest][]byte   // its proposals, for replicas that request them
	twins    map[mvba.At]secondProposal // its second proposals, by round
	votes    votes                      // for a lower QC
	old      *bolt.QC                   // the first of the newest epoch
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

func (a *BadInputs) Receive(v *View, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *bdt.Status:
		a.left(from, x)
		a.late(v, x.Epoch)
	case *mvba.Finish:
		if a.finishes = append(a.finishes, x); len(a.finishes) > 32 {
			a.finishes, a.of = a.finishes[1:], a.of[1:]
		}
		a.of = append(a.of, from)
	case *toss.Relay:
		a.relay = x
	case *bolt.Vote:
		a.countVote(v, from, x)
	case *mvba.FetchValue:
		if value := a.values[x.Digest]; value != nil {
			v.Send(int(from), Unchanged(&mvba.Value{Instance: x.Instance, Value: value})[0])
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
func (a *BadInputs) late(v *View, epoch uint64) {
	k := len(a.past) - 1
	if k < 0 || a.past[k].Instance.Epoch != epoch {
		return
	}
	x := a.past[k]
	in, err := bdt.DecodeInput(v.Committee, slices.Clone(x.Value))
	if err != nil {
		panic(err) // the message is the core's own
	}
	if a.moreClaims(v, in) {
		a.note("more claims than a quorum")
		value := in.Encode()
		for j := range v.Places {
			if j != int(v.Self) {
				v.Send(j, Unchanged(&mvba.Proposal{At: x.At, Value: value, Digest: mvba.DigestOf(value)})[0])
			}
		}
	}
}

// countVote makes QCs of votes, and keeps the first of each epoch.
func (a *BadInputs) countVote(v *View, from protocols.Index, x *bolt.Vote) {
	if a.old != nil && a.old.Epoch >= x.Epoch {
		return
	}
	if qc := a.votes.count(v, from, x); qc != nil {
		a.old = qc
	}
}

func (a *BadInputs) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	if x, ok := m.(*bdt.Status); ok {
		a.left(v.Self, x)
	}
	at, ok := placeOf(m)
	if !ok || rng.Float64() >= a.Rate {
		return Unchanged(m)
	}
	right := Unchanged(m)
	besides := func(bad []network.Packet) []network.Packet {
		if rng.IntN(2) == 0 {
			return append(bad, right...)
		}
		return append(right, bad...)
	}
	other := invented(rng.Uint64N(3))
	switch x := m.(type) {
	case *mvba.Proposal:
		return a.propose(v, to, x)
	case *mvba.Echo:
		a.note("echoes another value")
		return besides(Unchanged(v.signEcho(at, x.Broadcaster, other)))
	case *mvba.Accept:
		a.note("accepts another value")
		return besides(Unchanged(v.signAccept(at, x.Broadcaster, other)))
	case *mvba.Lock:
		a.note("a forged first-phase proof")
		s := v.signEcho(at, v.Self, x.Digest).Signature
		return append(forged(&mvba.Lock{At: at, Digest: x.Digest, Echoes: v.certificate(v.Committee.Quorum(), s)}, "a forged first-phase proof"), right...)
	case *mvba.Finish:
		a.note("a forged second-phase proof")
		return append(forged(&mvba.Finish{At: at, Digest: other, Accepts: x.Accepts}, "another value's second-phase proof"), right...)
	case *mvba.PreVote:
		a.note("pre-votes two things")
		if x.Yes || rng.IntN(3) > 0 {
			return besides(Unchanged(v.signNoPreVote(at, x.Leader)))
		}
		return besides(Unchanged(v.signNoPreVote(at, protocols.Index(rng.IntN(v.Committee.N())))))
	case *mvba.Vote:
		return a.vote(v, x, right, besides)
	case *toss.Relay:
		return append(right, a.decide(v, at)...)
	}
	return right
}

// vote sends a no in place of a yes, if it has a proof for the no; hides the key; or votes on another leader.
func (a *BadInputs) vote(v *View, x *mvba.Vote, right []network.Packet, besides func([]network.Packet) []network.Packet) []network.Packet {
	vote := *x
	if x.Yes {
		a.note("votes on another leader")
		vote.Leader = protocols.Index((int(x.Leader) + 1) % v.Committee.N())
		vote.Signature = v.acceptance(x.At, vote.Leader, vote.Digest)
		return append(forged(&vote, "a yes-vote with another leader's proof"), right...)
	}
	a.note("votes no without its key")
	vote.Key = nil
	return besides(Unchanged(v.signNoVote(&vote)))
}

// decide invents a decision: on a broadcast that completed and was not elected, or on none.
func (a *BadInputs) decide(v *View, at mvba.At) []network.Packet {
	if a.relay == nil || roundOf(a.relay.Name) != at {
		return nil
	}
	shares := a.relay.Shares
	value, err := v.Coin.Combine(a.relay.Name.Statement(v.Committee), &shares)
	if err != nil {
		panic(err) // they were verified
	}
	for k, f := range a.finishes {
		if f.At == at && a.of[k] != value.Leader(v.Committee.N()) {
			a.note("decides what was not elected")
			return forged(&mvba.Decision{At: at, Leader: a.of[k], Digest: f.Digest, Accepts: f.Accepts, Coin: shares}, "a decision on what was not elected")
		}
	}
	a.note("decides by itself")
	d := &mvba.Decision{At: at, Leader: value.Leader(v.Committee.N()), Digest: invented(1), Coin: shares}
	d.Accepts = v.certificate(v.Committee.Quorum(), v.acceptance(at, d.Leader, d.Digest))
	return forged(d, "a decision by one replica")
}

// propose sends different values to different replicas, or an invalid value. In a later round it is a digest.
func (a *BadInputs) propose(v *View, to protocols.Index, x *mvba.Proposal) []network.Packet {
	rng := v.Rand
	if a.twins == nil || len(a.twins) > 100 {
		a.twins = make(map[mvba.At]secondProposal)
		a.values = make(map[digest.Digest][]byte)
	}
	twin, known := a.twins[x.At]
	if !known {
		twin = a.twin(v, x)
		a.twins[x.At] = twin
		if x.Round == 1 {
			a.past = append(a.past, x)
		}
	}
	if twin.Proposal == nil {
		return Unchanged(x)
	}
	a.note(twin.what)
	bad := Unchanged(twin.Proposal)
	if twin.forged {
		bad = forged(twin.Proposal, twin.what)
	}
	switch {
	case rng.IntN(4) == 0:
		return append(bad, Unchanged(x)...)
	case to%2 == 0:
		return bad
	}
	return Unchanged(x)
}

// twin is the second proposal besides x, or none.
func (a *BadInputs) twin(v *View, x *mvba.Proposal) secondProposal {
	rng := v.Rand
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
		in, err := bdt.DecodeInput(v.Committee, value)
		if err != nil {
			panic(err) // the message is the core's own
		}
		if what, isForged = a.spoil(v, in); what == "" {
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
func (a *BadInputs) spoil(v *View, in *bdt.Input) (what string, isForged bool) {
	rng := v.Rand
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
			in.Block = v.sealed(&b)
			return "another block than the QC's", false
		}
	case 5:
		in.Cut[lane] = lanes.Tip{Seq: in.Cut[lane].Seq + 1, Digest: invented(2)}
		return "a cut above what is certified", false
	case 6:
		if t := v.before(protocols.Index(lane), in.Cut[lane]); t != in.Cut[lane] {
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
			if int(c.Lane)+1 < v.Committee.N() {
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
		if c := &in.Claims[k]; c.Replica == v.Self { // a Byzantine replica may claim anything
			c.TimeMS += 1 + rng.Uint64N(1000)
			c.Signature = v.signStatus(&bdt.Status{Claim: c.Claim}).Signature
			return "a second input", false
		}
	}
	return "", false
}

// moreClaims adds a valid claim to an input, if there is another.
func (a *BadInputs) moreClaims(v *View, in *bdt.Input) bool {
	for i := range protocols.Index(v.Committee.N()) {
		s := a.claims[i]
		k, have := slices.BinarySearchFunc(in.Claims, i, func(c bdt.SignedClaim, i protocols.Index) int { return int(c.Replica) - int(i) })
		if s != nil && s.Epoch == in.Epoch && !have {
			in.Claims = slices.Insert(in.Claims, k, bdt.SignedClaim{Replica: i, Claim: s.Claim, Signature: s.Signature})
			return true
		}
	}
	return false
}
