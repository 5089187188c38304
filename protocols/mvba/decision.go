package mvba

import "bdtnode/protocols"

// outcome is the end of an instance: its decision, and the delivery of the decided value.
type outcome struct {
	*shared
	decision *Decision     // nil before
	emitted  bool          // the Decided output was given
	sent     protocols.Set // peers to which the decision was sent since the last reconnect
}

// upon n-f yes-votes, a complete elected broadcast, or a Decision of a peer: persist the certificate and send it once to all.
// All other messages and values are deleted.
func (o *outcome) settle(s *Step, d *Decision) {
	o.decision = d
	s.Record(o.cfg.Instance.decisionKey(), messageRecord(d))
	o.high = nil
	o.values.keepOnly(d.Digest)
	o.out.leaveRound(o.values.requested)
	o.out.send(s, protocols.Everyone, d)
}

// upon a decision whose value is held: give it to the parent. A missing value is requested from replicas that accepted it.
func (o *outcome) deliver(s *Step) {
	if o.decision == nil || o.emitted {
		return
	}
	v := o.values.held[o.decision.Digest]
	if v == nil {
		o.values.request(s, o.decision.Digest, o.decision.Accepts.Signers)
		return
	}
	o.values.store(s, o.decision.Digest)
	o.emitted = true
	s.Emit(Decided{Value: v.bytes, Decision: o.decision})
}

// send sends a peer the decision, once for each connection.
func (o *outcome) send(s *Step, peer protocols.Index) {
	if o.sent.Add(peer) {
		s.Send(peer, o.decision)
	}
}
