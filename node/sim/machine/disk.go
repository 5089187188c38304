package machine

import (
	"bdtnode/internal/kv"
	"bdtnode/node/driver"
)

// disk makes the records of a life's actions durable before their messages leave.
type disk struct {
	n         *Machine
	unwritten []driver.Action
	writes    driver.Writes
	unsynced  []driver.Action // with records that may not be durable
	spare     []driver.Action // memory for a group
	batch     kv.Batch
	writing   bool
}

// write puts all waiting actions into the store, with one sync if [driver.Writes] needs it, and then releases them.
func (d *disk) write() {
	n := d.n
	if d.writing || !n.alive || len(d.unwritten) == 0 {
		return
	}
	group := d.unwritten
	d.unwritten, d.spare = d.spare, nil
	sync := false
	for i := range group {
		d.batch.Reset()
		sync = d.writes.Add(&d.batch, group[i:i+1]) || sync
		if d.batch.Len() > 0 {
			must(n.store.Apply(&d.batch, false))
			d.unsynced = append(d.unsynced, group[i])
		}
	}
	if !sync {
		d.release(group)
		return
	}
	d.writing = true
	n.after(n.s.Around(n.s.SyncMean), func() {
		d.sync()
		d.writing = false
		if n.s.crashPoint(n) {
			return // the records are durable, and no message has left
		}
		n.do(func() {
			d.release(group)
			d.write()
		})
	})
}

// sync makes all records in the store durable.
func (d *disk) sync() {
	must(d.n.store.Flush())
	d.n.s.check.Synced(d.n, d.unsynced)
	clear(d.unsynced)
	d.unsynced = d.unsynced[:0]
}

// release sends the messages of actions and handles their outputs. The memory of the group is used again.
func (d *disk) release(group []driver.Action) {
	n := d.n
	defer func() {
		clear(group)
		d.spare = group[:0]
	}()
	life := n.life
	for i := range group {
		a := &group[i]
		n.driver.Send(a)
		if len(a.Sends)+len(a.Reads) > 0 && n.s.crashPoint(n) {
			return
		}
		for _, o := range a.Out {
			if o.Lost != nil {
				n.lost(o.Lost)
				return
			}
			if o.Certified != nil {
				n.s.check.Certified(n, o.Certified)
			}
		}
		if a.Own != nil && n.adversary == nil {
			n.s.check.Batched(n, a.Own.Payload.Txs)
		}
		must(n.driver.Deliver(a))
		if n.life != life {
			return
		}
	}
}
