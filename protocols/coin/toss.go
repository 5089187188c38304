package coin

import (
	"fmt"

	"bdtnode/protocols"
)

// Toss collects verified shares of one name until the value is known. It is a pure state machine.
type Toss struct {
	scheme    Scheme
	statement []byte
	replicas  int
	shares    map[protocols.Index]Share
	known     bool
	leader    protocols.Index
	proof     Shares
}

// NewToss makes a Toss without shares.
func NewToss(c *protocols.Committee, scheme Scheme, name Name) *Toss {
	return &Toss{scheme: scheme, statement: name.Statement(c), replicas: c.N(), shares: make(map[protocols.Index]Share)}
}

// Add takes the verified share of replica i and reports whether it made the value known.
func (t *Toss) Add(i protocols.Index, s Share) bool {
	if t.known {
		return false
	}
	t.shares[i] = s
	if len(t.shares) < t.scheme.Threshold() {
		return false
	}
	var all Shares
	for i := range t.shares {
		all.Holders.Add(i)
	}
	for _, i := range all.Holders.Members() {
		all.Shares = append(all.Shares, t.shares[i])
	}
	return t.Learn(&all)
}

// Learn takes relayed shares, verified and at least threshold, and reports whether they made the value known. It panics if
// they do not combine.
func (t *Toss) Learn(shares *Shares) bool {
	if t.known {
		return false
	}
	v, err := t.scheme.Combine(t.statement, shares)
	if err != nil {
		panic(fmt.Sprintf("coin: verified shares do not combine: %v", err))
	}
	t.known, t.leader, t.proof, t.shares = true, v.Leader(t.replicas), *shares, nil
	return true
}

// Known reports whether the value is known.
func (t *Toss) Known() bool { return t.known }

// Leader is the replica that the toss elects. It is valid once the value is known.
func (t *Toss) Leader() protocols.Index { return t.leader }

// Proof has the shares that the value was computed from, as many as the threshold. It is valid once the value is known.
func (t *Toss) Proof() Shares { return t.proof }
