package record

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/clients"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// sum is the first part of the digest of this and all earlier entries, inputs and results. It finds differences; it is no
// protection against a forged recording.
type sum [8]byte

// chain computes the sums of successive entries.
type chain struct {
	last digest.Digest
	e    encoder
}

// next is the sum of the next entry, from its encoded input and the results that fill writes.
func (c *chain) next(input []byte, fill func(e *encoder)) (s sum) {
	c.e.b = c.e.b[:0]
	fill(&c.e)
	c.last = digest.Of("bdt/recording/1", c.last[:], digestOf(input), digestOf(c.e.b))
	copy(s[:], c.last[:])
	return s
}

func digestOf(b []byte) []byte {
	d := digest.Of("bdt/recording-part/1", b)
	return d[:]
}

func appendCounts(e *encoder, n clients.AdmissionCounts) {
	e.ints([]int{n.Ready, n.Mempool, n.Orphans, n.Waits})
}

func appendStep(e *encoder, st *replica.Step) {
	appendRecords(e, st.Persist)
	e.u64(uint64(len(st.Sends)))
	for _, s := range st.Sends {
		e.i64(int64(s.To))
		e.u8(uint8(s.Message.Kind()))
		e.b = s.Message.Append(e.b)
	}
	e.u64(uint64(len(st.Reads)))
	for _, r := range st.Reads {
		e.u64(uint64(r.To))
		e.text(fmt.Sprintf("%T%v", r.Range, r.Range))
	}
	e.u64(uint64(len(st.Out)))
	for i := range st.Out {
		appendOutput(e, &st.Out[i])
	}
	e.u64(uint64(len(st.Faults)))
	for _, f := range st.Faults {
		e.text(f.String())
	}
}

func appendRecords(e *encoder, records []protocols.Record) {
	e.u64(uint64(len(records)))
	for _, r := range records {
		e.bytes(r.Key)
		e.flag(r.Value != nil)
		e.bytes(r.Value)
	}
}

func appendOutput(e *encoder, o *replica.Output) {
	switch {
	case o.Deliver != nil:
		d := o.Deliver.Block.Digest()
		e.u8(1)
		e.raw(d[:])
		e.text(fmt.Sprint(o.Deliver.LDs, o.Deliver.Refs))
		if len(o.Deliver.Bad) > 0 || o.Deliver.ByHeader {
			e.text(fmt.Sprint(o.Deliver.Bad, o.Deliver.ByHeader))
		}
	case o.Certified != nil:
		e.u8(2)
		e.b = o.Certified.Append(e.b)
	case o.Inbound != nil:
		e.u8(3)
		e.raw(o.Inbound.Digest[:])
	case o.Lost != nil:
		e.u8(4)
		e.text(o.Lost.Why)
	case o.Twin != nil:
		e.u8(5)
		e.text(fmt.Sprint(*o.Twin))
	case o.Check != nil:
		e.u8(6)
		e.text(fmt.Sprint(*o.Check))
	case o.Drop != nil:
		e.u8(7)
		e.text(fmt.Sprint(*o.Drop))
	}
}

func appendBlock(e *encoder, b *ledger.Block) {
	e.raw(b.HeaderDigest[:])
	e.u64(uint64(len(b.Receipts)))
	for i := range b.Receipts {
		e.b = b.Receipts[i].Append(e.b)
	}
	e.u64(uint64(len(b.LeftOut)))
	for i := range b.LeftOut {
		l := &b.LeftOut[i]
		e.id(l.ID)
		e.refusal(l.Refusal)
		e.id(l.Missing.Tx)
		e.u64(uint64(l.Missing.Index))
	}
	e.u64(uint64(len(b.Duplicates)))
	for _, id := range b.Duplicates {
		e.id(id)
	}
	e.u64(uint64(len(b.Outbox)))
	e.text(fmt.Sprint(b.Frozen, b.More))
}

func appendResult(e *encoder, in *clients.AdmissionInput, r *clients.AdmissionResult) {
	e.flag(r.OK)
	switch in.Kind {
	case clients.AdmissionFind:
		p := r.Progress
		appendProgress(e, &p.Receipt, p.Refusal, p.Waiting, p.Logged, p.Certified)
	case clients.AdmissionClose: // the answers to the request
		for _, id := range in.Request.IDs() {
			p := in.Request.Progress(id)
			appendProgress(e, &p.Receipt, p.Refusal, p.Waiting, p.Logged, p.Certified)
		}
	default:
	}
	e.u64(uint64(len(r.Txs)))
	for _, tx := range r.Txs {
		e.bytes(tx.Encode())
	}
	e.u64(uint64(len(r.Due)))
	for _, tx := range r.Due {
		e.id(tx.ID())
	}
	appendRecords(e, r.Records)
	appendCounts(e, r.Counts)
}

func appendProgress(e *encoder, r *ledger.Receipt, refusal *ledger.Refusal, flags ...bool) {
	e.b = r.Append(e.b)
	e.refusal(refusal)
	for _, v := range flags {
		e.flag(v)
	}
}
