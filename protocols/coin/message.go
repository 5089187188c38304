package coin

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Kinds of the coin's messages.
const (
	KindRelease = protocols.KindsCoin + iota
	KindRelay
)

// Release is a replica's own share of a toss, sent to all.
type Release struct {
	Name  Name
	Share Share
}

// Relay is enough shares of a toss to know its value. Whoever learns a value sends it to all, so that a coin one
// honest replica knows is known to all.
type Relay struct {
	Name   Name
	Shares Shares // exactly the threshold
}

// Kind is the message's type on the wire.
func (m *Release) Kind() protocols.Kind { return KindRelease }

// Append encodes the message.
func (m *Release) Append(b []byte) []byte { return append(m.Name.Append(b), m.Share[:]...) }

// ReadRelease decodes what Append wrote.
func ReadRelease(r *wire.Reader) *Release {
	m := &Release{Name: ReadName(r)}
	r.Fixed(m.Share[:])
	return m
}

// Check is what a worker has to verify of a Release by from.
func (m *Release) Check(c *protocols.Committee, from protocols.Index) Check {
	k := Check{Statement: m.Name.Statement(c), Shares: Shares{Shares: []Share{m.Share}}}
	k.Shares.Holders.Add(from)
	return k
}

// Kind is the message's type on the wire.
func (m *Relay) Kind() protocols.Kind { return KindRelay }

// Append encodes the message.
func (m *Relay) Append(b []byte) []byte { return m.Shares.Append(m.Name.Append(b)) }

// ReadRelay decodes what Append wrote.
func ReadRelay(r *wire.Reader) *Relay { return &Relay{Name: ReadName(r), Shares: ReadShares(r)} }

// Check is what a worker has to verify of a Relay.
func (m *Relay) Check(c *protocols.Committee) (Check, error) { return NewCheck(c, m.Name, &m.Shares) }

// Check is shares of one toss to verify, and, if Elects, the leader they must give.
type Check struct {
	Statement []byte
	Shares    Shares
	Elects    bool
	Leader    protocols.Index
	replicas  int
}

// NewCheck asks for the check of exactly as many shares as determine a value. It is an error if they are another
// number or one is of no replica.
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

// Electing adds that the toss must elect leader.
func (k Check) Electing(leader protocols.Index) Check {
	k.Elects, k.Leader = true, leader
	return k
}

// Verify does the check.
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
