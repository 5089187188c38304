package record

import (
	"fmt"
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
	"bdtnode/shard/settlement"
)

// Kinds of entries of a recording. Those of inputs of the core and of the admission state are the numbers of package
// driver, the latter above kindAdmission.
const (
	kindAdmission  = 0x20
	kindRestored   = 0x40 // the replica is restored from its stores
	kindBlock      = 0x41 // a block is executed
	kindUnfinished = 0x42 // the core did not return from the input of this entry
	kindEnd        = 0x43
)

// entry is one entry of a recording: an input and its results.
type entry struct {
	kind    uint8
	signed  signatures // made by this input and since the one before
	sum     sum        // of this and all earlier entries; only while replaying, like the next
	input   []byte     // encoding
	at      admission.Reading
	core    driver.CoreInput
	step    *replica.Step // results of core; only while recording
	message []byte        // of core: a frame; empty if ahead is not nil
	ahead   *bdt.Ahead
	height  uint64 // of a block

	admission clients.AdmissionInput
	result    *clients.AdmissionResult // only while recording
	request   uint64                   // number of the request
	info      admission.RequestInfo    // of AdmissionOpen
	tx        []byte
	id        ledger.TxID
	number    uint64 // of a batch

	counts clients.AdmissionCounts // of kindRestored; only while recording
	block  *execution.Executed     // only while recording
	why    string                  // of kindEnd
}

// signatures are results of signing, in order.
type signatures struct {
	signatures []sig.Signature
	shares     []coin.Share
}

func (s *signatures) append(e *encoder) {
	e.u64(uint64(len(s.signatures)))
	for i := range s.signatures {
		e.raw(s.signatures[i][:])
	}
	e.u64(uint64(len(s.shares)))
	for i := range s.shares {
		e.raw(s.shares[i][:])
	}
}

func (s *signatures) read(d *decoder) {
	for range d.count() {
		var x sig.Signature
		d.fixed(x[:])
		s.signatures = append(s.signatures, x)
	}
	for range d.count() {
		var x coin.Share
		d.fixed(x[:])
		s.shares = append(s.shares, x)
	}
}

// append encodes the entry without its sum.
func (x *entry) append(e *encoder) {
	e.u8(x.kind)
	switch {
	case x.kind == kindRestored:
		e.reading(x.at)
		x.signed.append(e)
	case x.kind == kindBlock:
		e.u64(x.block.Block.Header.Height)
	case x.kind == kindEnd:
		e.text(x.why)
	case x.kind == kindUnfinished:
		e.u8(uint8(x.core.Kind))
		x.appendCore(e)
		x.signed.append(e)
	case x.kind > kindAdmission:
		x.appendAdmission(e)
	default:
		x.appendCore(e)
		x.signed.append(e)
	}
}

func (x *entry) appendCore(e *encoder) {
	in := &x.core
	switch in.Kind {
	case driver.CoreMessage:
		e.reading(in.At)
		e.u64(uint64(in.Message.From()))
		if a := in.Message.Ahead(); a != nil {
			e.u64(0)
			e.u64(a.Epoch)
			e.u64(a.Slot)
			e.u64(uint64(a.Lane))
			e.u64(a.Number)
			return
		}
		e.bytes(replica.Encode(in.Message.Message()))
	case driver.CoreExecuted:
		e.reading(in.At)
		e.u64(in.Block.Block.Header.Height)
	case driver.CoreConnected:
		e.u64(uint64(in.Peer))
	case driver.CoreWitness:
		e.bytes(in.Evidence.Encode())
	case driver.CoreAppend:
		e.reading(in.At)
		e.u64(uint64(in.Waiting))
	case driver.CoreImpossible, driver.CoreCancel:
		e.reading(in.At)
		e.bytes(in.Content)
	case driver.CoreChecked:
		e.reading(in.At)
		e.u64(uint64(len(in.Results)))
		for i := range in.Results {
			x := &in.Results[i]
			e.u64(uint64(x.Batch.Lane))
			e.u64(x.Batch.Tip.Seq)
			e.raw(x.Batch.Tip.Digest[:])
			e.flag(x.Good)
		}
	default:
		e.reading(in.At)
	}
}

func (x *entry) appendAdmission(e *encoder) {
	in := &x.admission
	switch in.Kind {
	case clients.AdmissionOpen:
		e.u64(x.request)
		e.text(string(x.info.From))
		e.u8(uint8(x.info.Stage))
		e.flag(x.info.Submits)
		e.i64(int64(x.info.Since))
		e.u64(uint64(len(x.info.IDs)))
		for _, id := range x.info.IDs {
			e.id(id)
		}
	case clients.AdmissionClose:
		e.u64(x.request)
	case clients.AdmissionAdmit:
		e.reading(in.At)
		e.u64(x.request)
		e.bytes(in.Verified.Tx().Encode())
		appendLookup(e, &in.Lookup)
	case clients.AdmissionAnswer:
		e.reading(in.At)
		e.u64(x.request)
		e.bytes(in.Receipt.Encode())
	case clients.AdmissionFind:
		e.id(in.ID)
	case clients.AdmissionTake:
		e.u64(uint64(in.Notices))
	case clients.AdmissionLogged:
		e.reading(in.At)
		e.u64(in.Own.Number)
	case clients.AdmissionExecuted:
		e.reading(in.At)
		e.u64(in.Block.Block.Header.Height)
	case clients.AdmissionCertified:
		e.u64(in.Height)
	case clients.AdmissionDue:
		e.reading(in.At)
	case clients.AdmissionRetry:
		e.reading(in.At)
		e.id(in.Retried.ID())
		appendLookup(e, &in.Lookup)
	case clients.AdmissionCheckpoint:
	case clients.AdmissionCancel:
		e.reading(in.At)
		e.id(in.ID)
	}
}

func appendLookup(e *encoder, l *admission.Lookup) {
	e.u64(l.Height)
	e.flag(l.Known)
	if l.Known {
		e.bytes(l.Receipt.Encode())
		return
	}
	f := &l.Found
	e.refusal(f.Refusal)
	e.refusal(f.Horizon)
	e.flag(f.Inside)
	e.ints(f.Own)
	e.ints(f.Missing)
}

func readLookup(d *decoder) (l admission.Lookup) {
	l.Height, l.Known = d.u64(), d.flag()
	if l.Known {
		l.Receipt = readReceipt(d)
		return l
	}
	f := &l.Found
	f.Refusal, f.Horizon, f.Inside = d.refusal(), d.refusal(), d.flag()
	f.Own, f.Missing = d.ints(), d.ints()
	return l
}

func readReceipt(d *decoder) ledger.Receipt {
	r, err := ledger.DecodeReceipt(d.bytes())
	if err != nil && d.err == nil {
		d.err = err
	}
	return r
}

// readEntry decodes the next entry.
func readEntry(d *decoder, n *settlement.Network, shard uint16) (*entry, error) {
	all := d.b
	x := &entry{kind: d.u8()}
	switch {
	case d.err != nil:
	case x.kind == kindRestored:
		x.at = d.reading()
		x.signed.read(d)
	case x.kind == kindBlock:
		x.height = d.u64()
	case x.kind == kindEnd:
		x.why = d.text()
		return x, d.err
	case x.kind == kindUnfinished:
		x.readCore(d, driver.CoreKind(d.u8()), n, shard)
		x.signed.read(d)
		return x, d.err
	case x.kind > kindAdmission && x.kind <= kindAdmission+uint8(clients.AdmissionCancel):
		x.readAdmission(d, clients.AdmissionKind(x.kind-kindAdmission))
	default:
		x.readCore(d, driver.CoreKind(x.kind), n, shard)
		x.signed.read(d)
	}
	x.input = all[:len(all)-len(d.b)]
	d.fixed(x.sum[:])
	return x, d.err
}

func (x *entry) readCore(d *decoder, kind driver.CoreKind, n *settlement.Network, shard uint16) {
	in := &x.core
	switch in.Kind = kind; kind {
	case driver.CoreMessage:
		in.At, in.Peer = d.reading(), protocols.Index(d.u64())
		if x.message = d.bytes(); len(x.message) == 0 {
			x.ahead = &bdt.Ahead{Epoch: d.u64(), Slot: d.u64(), Lane: protocols.Index(d.u64()), Number: d.u64()}
		}
	case driver.CoreExecuted:
		in.At, x.height = d.reading(), d.u64()
	case driver.CoreConnected:
		in.Peer = protocols.Index(d.u64())
	case driver.CoreWitness:
		var err error
		if in.Evidence, err = settlement.DecodeEvidence(n, shard, d.bytes()); err != nil && d.err == nil {
			d.err = err
		}
	case driver.CoreAppend:
		in.At, in.Waiting = d.reading(), int(d.u64())
	case driver.CoreImpossible, driver.CoreCancel:
		in.At, in.Content = d.reading(), slices.Clone(d.bytes())
	case driver.CoreChecked:
		in.At = d.reading()
		for range d.count() {
			x := vouch.Result{Batch: lanes.Ref{Lane: protocols.Index(d.u64()), Tip: lanes.Tip{Seq: d.u64()}}}
			d.fixed(x.Batch.Tip.Digest[:])
			x.Good = d.flag()
			in.Results = append(in.Results, x)
		}
	case driver.CoreStart, driver.CoreTick:
		in.At = d.reading()
	default:
		d.err = fmt.Errorf("%w: its kind is %#x, which this program does not know", errMalformed, x.kind)
	}
}

func (x *entry) readAdmission(d *decoder, kind clients.AdmissionKind) {
	in := &x.admission
	switch in.Kind = kind; kind {
	case clients.AdmissionOpen:
		x.request = d.u64()
		x.info.From, x.info.Stage, x.info.Submits = admission.Party(d.text()), admission.Stage(d.u8()), d.flag()
		x.info.Since = protocols.Time(d.i64())
		for range d.count() {
			x.info.IDs = append(x.info.IDs, d.id())
		}
	case clients.AdmissionClose:
		x.request = d.u64()
	case clients.AdmissionAdmit:
		in.At, x.request, x.tx = d.reading(), d.u64(), d.bytes()
		in.Lookup = readLookup(d)
	case clients.AdmissionAnswer:
		in.At, x.request, in.Receipt = d.reading(), d.u64(), readReceipt(d)
	case clients.AdmissionFind:
		in.ID = d.id()
	case clients.AdmissionTake:
		in.Notices = int(d.u64())
	case clients.AdmissionLogged:
		in.At, x.number = d.reading(), d.u64()
	case clients.AdmissionExecuted:
		in.At, x.height = d.reading(), d.u64()
	case clients.AdmissionCertified:
		in.Height = d.u64()
	case clients.AdmissionDue:
		in.At = d.reading()
	case clients.AdmissionRetry:
		in.At, x.id = d.reading(), d.id()
		in.Lookup = readLookup(d)
	case clients.AdmissionCheckpoint:
	case clients.AdmissionCancel:
		in.At, in.ID = d.reading(), d.id()
	}
}
