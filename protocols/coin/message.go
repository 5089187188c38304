package coin

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Kinds of the messages of the coin.
const (
	KindRelease = protocols.KindsCoin + iota
	KindRelay
)

// Messages is the table of the messages of the coin. Their proofs are shares.
var Messages = protocols.Entries(protocols.KindsCoin,
	protocols.Entry[Check]{
		Kind: KindRelease, Name: "Release", Max: nameSize + ShareSize, Decode: protocols.Decoder(DecodeRelease),
		Check: protocols.SenderCheck(func(m *Release, c *protocols.Committee, from protocols.Index) (Check, error) {
			return m.Check(c, from), nil
		}),
		Epoch: protocols.Field(func(m *Release) uint64 { return m.Name.Epoch }),
	},
	protocols.Entry[Check]{
		Kind: KindRelay, Name: "Relay", Max: nameSize + SharesMax, Decode: protocols.Decoder(DecodeRelay),
		Check: protocols.ContentCheck((*Relay).Check),
		Epoch: protocols.Field(func(m *Relay) uint64 { return m.Name.Epoch }),
	},
)

// Release is a replica's own share of a toss. It is sent to all.
type Release struct {
	Name  Name
	Share Share
}

// Relay has enough shares of a toss to compute its value. A replica that learns a value sends a Relay to all, so that a
// value known to one honest replica becomes known to all.
type Relay struct {
	Name   Name
	Shares Shares // exactly the threshold
}

// Kind is the message's type on the wire.
func (m *Release) Kind() protocols.Kind { return KindRelease }

// Append encodes the message.
func (m *Release) Append(b []byte) []byte { return append(m.Name.Append(b), m.Share[:]...) }

// DecodeRelease reads the body of a Release.
func DecodeRelease(b []byte) (*Release, error) {
	r := wire.NewReader(b)
	m := &Release{Name: ReadName(r)}
	r.Fixed(m.Share[:])
	return m, r.Done()
}

// Check is the check, by a worker, that proves a Release from replica from.
func (m *Release) Check(c *protocols.Committee, from protocols.Index) Check {
	k := Check{Statement: m.Name.Statement(c), Shares: Shares{Shares: []Share{m.Share}}}
	k.Shares.Holders.Add(from)
	return k
}

// Kind is the message's type on the wire.
func (m *Relay) Kind() protocols.Kind { return KindRelay }

// Append encodes the message.
func (m *Relay) Append(b []byte) []byte { return m.Shares.Append(m.Name.Append(b)) }

// DecodeRelay reads the body of a Relay.
func DecodeRelay(b []byte) (*Relay, error) {
	r := wire.NewReader(b)
	m := &Relay{Name: ReadName(r), Shares: ReadShares(r)}
	return m, r.Done()
}

// Check is the check, by a worker, that proves a Relay. It returns the errors of [NewCheck].
func (m *Relay) Check(c *protocols.Committee) (Check, error) { return NewCheck(c, m.Name, &m.Shares) }

// Check has shares of one toss to verify and, if Elects is set, the leader that they must elect.
type Check struct {
	Statement []byte
	Shares    Shares
	Elects    bool
	Leader    protocols.Index
	replicas  int
}

// NewCheck makes the check of exactly threshold shares. It returns an error if their number is another, or if the holder
// of one is not a replica of the shard.
func NewCheck(c *protocols.Committee, name Name, shares *Shares) (Check, error) {
	if len(shares.Shares) != c.WeakQuorum() {
		return Check{}, fmt.Errorf("%d coin shares, want %d", len(shares.Shares), c.WeakQuorum())
	}
	for _, i := range shares.Holders.Members() {
		if !c.Has(i) {
			return Check{}, fmt.Errorf("coin share of replica %d of %d", i, c.N())
		}
	}
	return Check{Statement: name.Statement(c), Shares: *shares, replicas: c.N()}, nil
}

// Electing adds the condition that the toss elects leader.
func (k Check) Electing(leader protocols.Index) Check {
	k.Elects, k.Leader = true, leader
	return k
}

// Verify carries out the check. It returns an error if a share is invalid, or if the toss elects another leader than
// required.
func (k *Check) Verify(scheme Scheme) error {
	for n, i := range k.Shares.Holders.Members() {
		if !scheme.Verify(i, k.Statement, k.Shares.Shares[n]) {
			return fmt.Errorf("invalid coin share of replica %d", i)
		}
	}
	if !k.Elects {
		return nil
	}
	v, err := scheme.Combine(k.Statement, &k.Shares)
	if err != nil {
		return err
	}
	if l := v.Leader(k.replicas); l != k.Leader {
		return fmt.Errorf("the coin elects replica %d, not %d", l, k.Leader)
	}
	return nil
}
