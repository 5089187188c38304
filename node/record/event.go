package record

import (
	"fmt"
	"strings"
	"time"

	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Event is one line of a replay: an input, or one result of it.
type Event struct {
	Step    uint64        // of the recording, from 1; an input and its results have the same
	At      time.Duration // since the first reading of the clocks
	What    string
	Who     int // the recorded replica
	To      int // the other replica, -1 if there is none
	Message protocols.Message
	Text    string
}

// Format is the event on one line: step, time, shard, name, replicas, and a description. describe describes messages.
func (e Event) Format(shard uint16, describe func(protocols.Message) string) string {
	s := fmt.Sprintf("%7d %12v %d/ %-10s %d", e.Step, e.At.Round(time.Microsecond), shard, e.What, e.Who)
	if e.To >= 0 {
		s += fmt.Sprintf(" > %d", e.To)
	}
	if e.Message != nil {
		s += " " + describe(e.Message)
	}
	if e.Text != "" {
		s += " " + e.Text
	}
	return s
}

// emit shows an event of the entry in progress that has no other replica.
func (p *replay) emit(e Event) { p.emitTo(e, -1) }

func (p *replay) emitTo(e Event, to int) {
	e.Step, e.At, e.To = p.result.Steps, p.at.Sub(p.began), to
	e.Who = int(p.setup.Driver.Self)
	if p.broken == nil {
		p.broken = p.show(e)
	}
}

// names of the inputs.
var coreNames = map[driver.CoreKind]string{
	driver.CoreStart: "start", driver.CoreMessage: "message", driver.CoreExecuted: "executed", driver.CoreConnected: "connect",
	driver.CoreWitness: "evidence", driver.CoreTick: "timer", driver.CoreAppend: "batch",
	driver.CoreImpossible: "impossible", driver.CoreCancel: "cancel",
	driver.CoreChecked: "signatures",
}

var admissionNames = map[clients.AdmissionKind]string{
	clients.AdmissionOpen: "open", clients.AdmissionClose: "close", clients.AdmissionAdmit: "admit", clients.AdmissionAnswer: "answer",
	clients.AdmissionFind: "find", clients.AdmissionTake: "take", clients.AdmissionLogged: "logged", clients.AdmissionExecuted: "applied",
	clients.AdmissionCertified: "certified", clients.AdmissionDue: "due", clients.AdmissionRetry: "retry", clients.AdmissionCheckpoint: "checkpoint",
	clients.AdmissionCancel: "cancel",
}

func describeCore(x *entry) string {
	switch in := &x.core; in.Kind {
	case driver.CoreExecuted:
		return fmt.Sprintf("block %d", x.height)
	case driver.CoreMessage:
		return fmt.Sprintf("message of replica %d", in.Peer)
	case driver.CoreConnected:
		return fmt.Sprintf("connection to replica %d", in.Peer)
	case driver.CoreAppend:
		return fmt.Sprintf("batch of the own lane, %d bytes wait", in.Waiting)
	default:
		return coreNames[in.Kind]
	}
}

func describeAdmission(x *entry) string {
	name := admissionNames[x.admission.Kind]
	switch in := &x.admission; in.Kind {
	case clients.AdmissionOpen:
		return fmt.Sprintf("%s request %d of %q with %d transactions", name, x.request, x.info.From, len(x.info.IDs))
	case clients.AdmissionClose, clients.AdmissionAnswer:
		return fmt.Sprintf("%s request %d", name, x.request)
	case clients.AdmissionAdmit:
		return fmt.Sprintf("%s for request %d, ledger at height %d", name, x.request, in.Lookup.Height)
	case clients.AdmissionFind:
		return fmt.Sprintf("%s %s", name, in.ID)
	case clients.AdmissionLogged:
		return fmt.Sprintf("%s batch %d", name, x.number)
	case clients.AdmissionExecuted:
		return fmt.Sprintf("%s block %d", name, x.height)
	case clients.AdmissionCertified:
		return fmt.Sprintf("%s height %d", name, in.Height)
	case clients.AdmissionRetry:
		return fmt.Sprintf("%s %s, ledger at height %d", name, x.id, in.Lookup.Height)
	default:
		return name
	}
}

// emitInput shows an input of the core.
func (p *replay) emitInput(x *entry) {
	e, to := Event{What: coreNames[x.core.Kind]}, -1
	switch x.core.Kind {
	case driver.CoreMessage:
		to = int(x.core.Peer)
		if e.Message = p.message; x.ahead != nil {
			e.Text = fmt.Sprintf("dropped as ahead: epoch %d slot %d, lane %d number %d", x.ahead.Epoch, x.ahead.Slot, x.ahead.Lane, x.ahead.Number)
		}
	case driver.CoreConnected:
		to = int(x.core.Peer)
	case driver.CoreExecuted, driver.CoreAppend:
		e.Text = p.what
	case driver.CoreWitness:
		e.Text = x.core.Evidence.Error()
	case driver.CoreChecked:
		for i := range x.core.Results {
			r := &x.core.Results[i]
			e.Text += fmt.Sprintf("%s good=%t; ", describeBatch(&r.Batch), r.Good)
		}
	default:
	}
	p.emitTo(e, to)
}

// emitStep shows the results of an input of the core.
func (p *replay) emitStep(st *replica.Step) {
	if n := len(st.Persist); n > 0 {
		p.emit(Event{What: "persist", Text: describeRecords(st.Persist)})
	}
	for _, s := range st.Sends {
		p.emitTo(Event{What: "send", Message: s.Message}, int(s.To))
	}
	for _, r := range st.Reads {
		p.emitTo(Event{What: "serve", Text: fmt.Sprintf("%T%v", r.Range, r.Range)}, int(r.To))
	}
	for i := range st.Out {
		p.emitOutput(&st.Out[i])
	}
}

func (p *replay) emitOutput(o *replica.Output) {
	switch {
	case o.Deliver != nil:
		b := o.Deliver.Block
		p.emit(Event{What: "deliver", Text: fmt.Sprintf("block %d %s epoch %d slot %d, %d batches, %d LDs", b.Height, b.Digest().Short(), b.Epoch, b.Slot, len(o.Deliver.Refs), len(o.Deliver.LDs))})
	case o.Certified != nil:
		p.emit(Event{What: "header", Text: fmt.Sprintf("height %d %s is certified", o.Certified.Height, o.Certified.Header.Short())})
	case o.Check != nil:
		p.emit(Event{What: "check", Text: describeBatch(o.Check)})
	case o.Drop != nil:
		p.emit(Event{What: "drop", Text: describeBatch(o.Drop)})
	case o.Inbound != nil:
		p.emit(Event{What: "LD", Text: fmt.Sprintf("number %d of shard %d %s", o.Inbound.Number, o.Inbound.Source, o.Inbound.Digest.Short())})
	case o.Lost != nil:
		p.emit(Event{What: "lost", Text: o.Lost.Why})
	case o.Twin != nil:
		p.emitTo(Event{What: "twin", Text: fmt.Sprintf("start %d is kept, start %d refused", o.Twin.Kept, o.Twin.Boot)}, int(o.Twin.Replica))
	}
}

// describeBatch names a batch whose signatures are to be checked.
func describeBatch(r *lanes.Ref) string {
	return fmt.Sprintf("batch %d of lane %d %s", r.Tip.Seq, r.Lane, r.Tip.Digest.Short())
}

// describeRecords counts records by the first bytes of their keys, which name their kind.
func describeRecords(records []protocols.Record) string {
	var names []string
	count, bytes := make(map[string]int), 0
	for _, r := range records {
		name := string(r.Key[:min(3, len(r.Key))])
		if r.Value == nil {
			name = "-" + name
		}
		if count[name]++; count[name] == 1 {
			names = append(names, name)
		}
		bytes += len(r.Key) + len(r.Value)
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%q x%d", name, count[name])
	}
	return fmt.Sprintf("%d bytes: %s", bytes, strings.Join(names, ", "))
}

func (p *replay) emitBlock(x *execution.Executed) {
	b := x.Block
	p.emit(Event{What: "execute", Text: fmt.Sprintf("block %d header %s, %d receipts, %d left out, %d duplicates, %d LDs",
		b.Header.Height, b.HeaderDigest.Short(), len(b.Receipts), len(b.LeftOut), len(b.Duplicates), len(b.Outbox))})
}

// emitAdmission shows an input of the admission state with its result.
func (p *replay) emitAdmission(x *entry, r *clients.AdmissionResult) {
	_, text, _ := strings.Cut(p.what, " ")
	switch x.admission.Kind {
	case clients.AdmissionAdmit:
		text += " " + p.admitted.String()
		if !r.OK {
			text += ": a block came between, the ledger is read again"
		}
	case clients.AdmissionTake:
		text += fmt.Sprintf(" %d transactions", len(r.Txs))
	case clients.AdmissionDue:
		text += fmt.Sprintf(" %d transactions", len(r.Due))
	case clients.AdmissionCheckpoint:
		text += fmt.Sprintf(" %d records", len(r.Records))
	case clients.AdmissionFind:
		if !r.OK {
			text += " unknown"
		}
	default:
	}
	n := r.Counts
	p.emit(Event{What: admissionNames[x.admission.Kind], Text: strings.TrimSpace(text) + fmt.Sprintf("; mempool %d, ready %d bytes, orphans %d, waits %d", n.Mempool, n.Ready, n.Orphans, n.Waits)})
}
