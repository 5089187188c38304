package mvba

import (
	"container/heap"
	"math"

	"bdtnode/protocols"
)

// envelope is a message in transit, or an event.
type envelope struct {
	at       float64
	order    uint64
	from, to protocols.Index
	msg      protocols.Message // nil for an event
	event    func()
	copy     bool // a duplicate, which is not duplicated again
	held     bool // the adversary delayed it before
}

type queue []*envelope

type checkKey struct {
	msg  protocols.Message
	from protocols.Index
}

// send sends a message, unless the connection is broken. Then it is sent again after the reconnect.
func (w *world) send(from, to protocols.Index, msg protocols.Message) {
	if w.links[link(from, to)] {
		return
	}
	w.push(&envelope{at: w.now + w.delay(from, to, msg), from: from, to: to, msg: msg})
}

func link(a, b protocols.Index) [2]protocols.Index { return [2]protocols.Index{min(a, b), max(a, b)} }

// deliver checks a message, as a node does, and gives it to its receiver.
func (w *world) deliver(e *envelope) {
	if w.schedule == "adversarial" && !e.held && w.know.holdBack(e) {
		e.held = true
		e.at = w.now + 200*w.rng.Float64()
		w.push(e)
		return
	}
	r := w.replicas[e.to]
	if r == nil {
		w.adversary.receive(w, e.from, e.to, e.msg)
		return
	}
	if !r.up {
		return
	}
	w.checkShown(e)
	msg := e.msg
	if w.encode {
		again, err := Decode(msg.Kind(), msg.Append(nil))
		if err != nil {
			w.fail("message %T of %d does not decode: %v", msg, e.from, err)
			return
		}
		msg = again
	} else if v, ok := msg.(*Value); ok && v.digest.IsZero() {
		msg = newValue(v.Instance, v.Value)
	}
	if err := w.check(e.from, msg); err != nil {
		if w.replicas[e.from] != nil {
			w.fail("message %T of honest replica %d is refused: %v", msg, e.from, err)
		}
		return
	}
	w.apply(e.to, r.machine.Handle(0, e.from, msg))
}

// check verifies a message. Each message is verified only once.
func (w *world) check(from protocols.Index, msg protocols.Message) error {
	key := checkKey{msg, from}
	err, ok := w.checked[key]
	if !ok {
		proof, bad := Check(w.committee, from, msg)
		if err = bad; err == nil {
			err = proof.Verify(w.scheme, w.coin)
		}
		w.checked[key] = err
	}
	return err
}

// disturb duplicates a message or breaks a connection after a delivery, at random.
func (w *world) disturb(e *envelope) {
	if w.duplicate > 0 && !e.copy && !e.held && w.rng.Float64() < w.duplicate {
		again := *e
		again.copy, again.at = true, w.now+w.rng.ExpFloat64()*20
		w.push(&again)
	}
	if w.breaks > 0 && w.rng.Float64() < w.breaks {
		a, b := protocols.Index(w.rng.IntN(w.n)), protocols.Index(w.rng.IntN(w.n))
		if a != b {
			w.disconnect(a, b)
			w.after(w.rng.Float64()*30, func() { w.reconnect(a, b) })
		}
	}
}

// disconnect breaks a connection. All messages in transit on it are lost.
func (w *world) disconnect(a, b protocols.Index) {
	w.links[link(a, b)] = true
	kept := w.queue[:0]
	for _, e := range w.queue {
		if e.event == nil && link(e.from, e.to) == link(a, b) {
			continue
		}
		kept = append(kept, e)
	}
	clear(w.queue[len(kept):])
	w.queue = kept
	heap.Init(&w.queue)
}

// reconnect restores a connection. Both ends send their messages again.
func (w *world) reconnect(a, b protocols.Index) {
	for _, i := range []protocols.Index{a, b} {
		if r := w.replicas[i]; r != nil && !r.up {
			return // the restart reconnects
		}
	}
	delete(w.links, link(a, b))
	for _, x := range [][2]protocols.Index{{a, b}, {b, a}} {
		if r := w.replicas[x[0]]; r != nil {
			w.apply(x[0], r.machine.Resend(x[1]))
		}
	}
}

// crash stops a replica until it restarts from its store.
func (w *world) crash(i protocols.Index) {
	w.crashed++
	r := w.replicas[i]
	r.up = false
	for j := range protocols.Index(w.n) {
		if j != i {
			w.disconnect(i, j)
		}
	}
	w.after(w.rng.Float64()*60, func() {
		w.boot(i)
		for j := range protocols.Index(w.n) {
			if j != i && r.up {
				w.reconnect(i, j)
			}
		}
		if r.up {
			w.input(i)
		}
	})
}

// delay is the time that a message takes.
func (w *world) delay(from, to protocols.Index, msg protocols.Message) float64 {
	switch w.schedule {
	case "unit":
		return 1
	case "even":
		return 1 + 0.1*w.rng.Float64()
	case "wild":
		return math.Exp(3 * w.rng.NormFloat64())
	case "starved": // messages from and to the victims are slow
		d := w.rng.ExpFloat64()
		if w.victims.Has(from) || w.victims.Has(to) {
			d *= 50
		}
		return d
	default: // Byzantine messages are fast, decisions and votes of the victims are slow
		d := w.rng.ExpFloat64()
		switch {
		case w.replicas[from] == nil:
			d /= 10
		case msg.Kind() == KindDecision:
			d *= 1000
		case w.victims.Has(from) && (msg.Kind() == KindLock || msg.Kind() == KindPreVote || msg.Kind() == KindVote):
			d *= 30
		}
		return d
	}
}

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*envelope)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
