package mvba

import (
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// shared is the part of an instance that the parts of a round use.
type shared struct {
	cfg    Config
	values values
	out    outbox
	high   *Key // highest known key; nil before the first
	// changed: a rule was applied, so all rules are checked again.
	changed bool
	// process gives the machine an own message, as the other replicas process it.
	process func(s *Step, from protocols.Index, msg protocols.Message)
}

// post persists and sends an own message, and processes it as the other replicas will. A message to Self is not sent.
func (x *shared) post(s *Step, to protocols.To, msg protocols.Message) {
	x.changed = true
	s.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))
	x.out.send(s, to, msg)
	if to == protocols.Everyone || to == protocols.To(x.cfg.Self) {
		x.process(s, x.cfg.Self, msg)
	}
}

// raise keeps k if it is the highest key so far.
func (x *shared) raise(k *Key) {
	if x.high == nil || k.Round > x.high.Round {
		x.high = k
	}
}

// round is the state of one round: its broadcasts, the election of one of them by the coin, and the votes on it.
type round struct {
	at         At
	broadcasts broadcasts
	election   election
	ballot     ballot
}

func newRound(x *shared, n uint32) *round {
	at := At{x.cfg.Instance, n}
	toss := coin.NewToss(x.cfg.Committee, x.cfg.Coin, at.toss())
	return &round{
		at: at, broadcasts: newBroadcasts(x, at, toss), election: election{shared: x, at: at, toss: toss}, ballot: newBallot(x, at, toss),
	}
}

// signatures makes a certificate of the first n-f replicas for which get has a signature. It reports whether there are so
// many.
func signatures(c *protocols.Committee, get func(i protocols.Index) (sig.Signature, bool)) (protocols.Certificate, bool) {
	var cert protocols.Certificate
	for i := range protocols.Index(c.N()) {
		if s, ok := get(i); ok {
			cert.Signers.Add(i)
			cert.Signatures = append(cert.Signatures, s)
			if len(cert.Signatures) == c.Quorum() {
				return cert, true
			}
		}
	}
	return protocols.Certificate{}, false
}
