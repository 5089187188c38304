package driver

import (
	"bdtnode/internal/kv"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Records adds the records of actions to a store's batch, in order, and reports whether one of them must be synced before
// the first of them is sent.
func Records(b *kv.Batch, actions []Action) (sync bool) {
	for i := range actions {
		sync = replica.Apply(b, actions[i].Persist) || sync
	}
	return sync
}

// Send sends the messages of an action. The host calls it for each action in order, once the action's records are durable,
// and then calls [Driver.Deliver].
func (d *Driver) Send(a *Action) {
	for _, s := range a.Sends {
		d.send(s.To, s.Message)
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
		d.clients.logged(a.Own)
	}
	return nil
}

// act acts on an output of the core.
func (d *Driver) act(o *replica.Output) error {
	switch {
	case o.Deliver != nil:
		d.host.Execute(o.Deliver)
	case o.Certified != nil:
		d.clients.headerCertified(o.Certified.Height)
		d.host.Publish()
	case o.Inbound != nil:
		e, err := replica.Contradiction(d.cfg.Store, d.cfg.Network, o.Inbound)
		if err != nil {
			return err
		}
		if e != nil {
			d.accuse(e)
		}
	case o.Suspect != nil:
		d.cancels.stated(o.Suspect)
	case o.Cancelled != nil:
		d.cancels.made(o.Cancelled)
	case o.Twin != nil:
		d.host.RunsTwice(o.Twin)
	case o.Lost != nil:
		return o.Lost
	}
	return nil
}

// send sends a message. The gate of each receiver notes a request, whose answer it then lets in.
func (d *Driver) send(to protocols.To, m protocols.Message) {
	d.asks(to, m)
	d.host.Send(to, m)
}
