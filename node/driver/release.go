package driver

import (
	"slices"

	"bdtnode/internal/kv"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
)

// Writes puts the records of actions into the consensus store's batches, and decides when the store is synced.
//
// A message or an acceptance may depend on all records before it, so these must be durable when it leaves. Records on which
// nothing depends yet wait for the next sync: batches of other lanes before the vote or acknowledgement that follows, committed
// blocks, certificates of headers. A crash may lose them, as if the replica had not received the messages behind them.
//
// A block is executed, and its VOTE and its receipts leave, before its record is durable. They state the effect of a final block.
// It stays final after any crash, since f+1 honest replicas have its QC on disk (package bolt), and the replica orders it
// again. The ledger must not be ahead of the consensus store then: the host syncs the consensus store before it makes effects
// durable.
//
// VOTEs do not pass through here, see releaseEarly.
//
// The zero value has nothing to sync. It is not safe for concurrent use.
type Writes struct {
	unsynced bool // records of earlier actions are not durable
}

// Add adds the records of actions to a batch, in order, and reports whether the store must be synced, with the batch, before
// the first of the actions is sent.
func (w *Writes) Add(b *kv.Batch, actions []Action) (sync bool) {
	for i := range actions {
		a := &actions[i]
		w.unsynced = replica.Apply(b, a.Persist) || w.unsynced
		sync = sync || w.unsynced && a.binds()
	}
	w.unsynced = w.unsynced && !sync
	return sync
}

// binds reports whether the replica is bound by an action after a crash: a message leaves that may depend on records, a client's
// transaction is accepted, or the replica signs nothing any more.
func (a *Action) binds() bool {
	return a.Own != nil || slices.ContainsFunc(a.Sends, func(s protocols.Send) bool { return replica.Binds(s.Message) }) ||
		slices.ContainsFunc(a.Out, func(o replica.Output) bool { return o.Lost != nil })
}

// leavesEarly reports whether a message needs no record that may not be durable. That is a VOTE: the block is final, and its
// header follows from the blocks alone.
func leavesEarly(m protocols.Message) bool {
	_, vote := m.(*certify.VOTE)
	return vote
}

// releaseEarly sends the messages of a step that need not wait for the disk, and publishes LDs of headers that it certifies. A
// certificate has no effect on the signatures of this replica, so one that is lost in a crash is only made again. While the disk
// syncs the records of other steps, LDs would otherwise wait two times: for the VOTEs and for the certificate.
func releaseEarly(d *Driver, st *replica.Step) {
	for _, s := range st.Sends {
		if leavesEarly(s.Message) {
			d.send(s.To, s.Message)
		}
	}
	for i := range st.Out {
		if c := st.Out[i].Certified; c != nil {
			d.exchange.certificates.put(c)
			d.host.Publish()
		}
	}
}

// Send sends the messages of an action that were not sent before. The host calls it for each action in order, once the
// action's records are durable, and then calls [Driver.Deliver].
func (d *Driver) Send(a *Action) {
	for _, s := range a.Sends {
		if !leavesEarly(s.Message) {
			d.send(s.To, s.Message)
		}
	}
	for _, r := range a.Reads {
		d.serving.put(r.To, r.Range)
		d.host.Serve()
	}
}

// Deliver acts on the outputs of an action that was sent. An error means that the replica must end; a [*replica.Lost]
// among them, that it may not start again.
func (d *Driver) Deliver(a *Action) error {
	for i := range a.Out {
		if err := d.act(&a.Out[i]); err != nil {
			return err
		}
	}
	if a.Own != nil {
		d.entries.Logged(a.Own)
	}
	return nil
}

// act acts on an output of the core.
func (d *Driver) act(o *replica.Output) error {
	switch {
	case o.Deliver != nil:
		d.host.Execute(o.Deliver)
	case o.Certified != nil:
		d.clients.HeaderCertified(o.Certified.Height)
		if d.appends != nil {
			d.appends.HeaderCertified(o.Certified.Height)
		}
	case o.Inbound != nil:
		e, err := replica.Contradiction(d.cfg.Store, d.cfg.Network, o.Inbound)
		if err != nil {
			return err
		}
		if e != nil {
			d.witness.accuse(e)
		}
	case o.Suspect != nil:
		d.cancels.stated(o.Suspect)
	case o.Cancelled != nil:
		d.cancels.made(o.Cancelled)
	case o.Twin != nil:
		d.host.RunsTwice(o.Twin)
	case o.Check != nil:
		d.execution.Check(*o.Check)
		d.host.Verify()
	case o.Drop != nil:
		d.execution.Drop(*o.Drop)
	case o.Lost != nil:
		return o.Lost
	}
	return nil
}

// send sends a message. The gate of each receiver notes a request, whose answer it then lets in.
func (d *Driver) send(to protocols.To, m protocols.Message) {
	d.intake.Asks(to, m)
	d.host.Send(to, m)
}
