package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// Records has the open records of transactions between shards, with the changes of the current block. Rules change a
// record through Records and [BlockState] only. Misuse panics: a second record or verdict, a change of a closed record.
type Records struct {
	x        *execution
	channels *Channels
	records  map[TxID]*openRecord // records that the block has read or opened
	changed  []*openRecord
	due      dueLists
}

// openRecord is a record with the changes of the current block.
type openRecord struct {
	Record
	opened  bool // in this block
	changed bool
}

func newRecords(x *execution, channels *Channels) *Records {
	return &Records{x: x, channels: channels, records: make(map[TxID]*openRecord), due: newDueLists()}
}

func (s *Records) reset() {
	clear(s.records)
	clear(s.changed)
	s.changed = s.changed[:0]
	s.due.reset()
}

// Get returns the open record of a transaction, nil if there is none.
func (s *Records) Get(id TxID) (*Record, error) {
	r, err := s.load(id)
	if err != nil || r == nil || !r.Part.Open {
		return nil, err
	}
	return &r.Record, nil
}

// Closed returns the final state of a closed record of a transaction, nil if there is none. It has the verdict of every
// input shard, which never changes any more.
func (s *Records) Closed(id TxID) (*Part, error) {
	if r := s.records[id]; r != nil {
		if r.Part.Open {
			return nil, nil
		}
		return &r.Part, nil
	}
	p, ok, err := readPart(s.x.store, id, s.x.cfg.Shard)
	if err != nil || !ok || p.Open {
		return nil, err
	}
	return &p, nil
}

// load returns the record of a transaction if it is open in the store or was changed by the current block. A record
// that the current block has closed is returned too.
func (s *Records) load(id TxID) (*openRecord, error) {
	if r := s.records[id]; r != nil {
		return r, nil
	}
	raw, ok, err := s.x.store.Get(append([]byte{keyOpen}, id[:]...))
	if err != nil || !ok {
		return nil, err
	}
	part, ok, err := readPart(s.x.store, id, s.x.cfg.Shard)
	if err != nil {
		return nil, err
	}
	tx, err := DecodeTx(raw)
	if err != nil || !ok || tx.id != id || !part.Open {
		return nil, fmt.Errorf("the record of transaction %s is damaged", id)
	}
	r := &openRecord{Record: Record{Part: part, Shards: tx.Shards(s.x.cfg.Home), Tx: tx}}
	s.records[id] = r
	return r, nil
}

// change marks an open record as changed by the current block and returns its state, for changing it.
func (s *Records) change(r *Record) *Part {
	x := s.records[r.Part.Tx]
	if x == nil || &x.Record != r || !x.Part.Open {
		panic(fmt.Sprintf("ledger: the record of transaction %s is not open", r.Part.Tx))
	}
	if !x.changed {
		x.changed = true
		s.changed = append(s.changed, x)
	}
	return &r.Part
}

// Open opens a record for a transaction. It panics if the current block has one of it already.
func (s *Records) Open(tx *Tx) *Record {
	if s.records[tx.id] != nil {
		panic(fmt.Sprintf("ledger: a second record of transaction %s", tx.id))
	}
	own, p := s.x.cfg.Shard, tx.Shards(s.x.cfg.Home)
	r := &openRecord{opened: true, Record: Record{Tx: tx, Shards: p, Part: Part{
		Tx: tx.id, Shard: own, Open: true, Height: s.x.in.Height, Outputs: p.Outputs, Known: make([]KnownVerdict, 0, p.Inputs.Len())}}}
	for _, shard := range p.Inputs.Members() {
		r.Part.Known = append(r.Part.Known, KnownVerdict{Shard: shard})
		if shard != own {
			s.channels.change(shard).Waiting++
		}
	}
	if p.Inputs.Has(own) && tx.ExpiryMS >= s.x.in.TimeMS { // else it is closed as soon as it is complete
		s.due.add(tx.ExpiryMS, tx.id)
	}
	s.records[tx.id] = r
	s.change(&r.Record)
	return &r.Record
}

// SetVerdict records the verdict of an input shard in a record. It panics if the record has that shard's verdict
// already.
func (s *Records) SetVerdict(r *Record, shard uint16, v Verdict, reason Reason) {
	k := s.change(r).Of(shard)
	if k == nil || k.Verdict != 0 {
		panic(fmt.Sprintf("ledger: a second verdict of shard %d on transaction %s", shard, r.Part.Tx))
	}
	*k = KnownVerdict{shard, v, reason, s.x.in.Height}
	if shard != s.x.cfg.Shard {
		c := s.channels.change(shard)
		c.Waiting--
		if r.Part.Stage == StageEscrow {
			c.Escrow -= s.x.ownValue(r.Tx)
		}
	}
}

// setStage moves a record to another stage. It panics if the record is not in stage from, or if that stage is final.
func (s *Records) setStage(r *Record, from, to Stage) {
	p := s.change(r)
	if p.Stage != from || from > StageEscrow {
		panic(fmt.Sprintf("ledger: transaction %s changes from %s to %s", p.Tx, p.Stage, to))
	}
	p.Stage, p.Height = to, s.x.in.Height
}

// setUnsent sets the shards to which this shard's verdict is not sent yet.
func (s *Records) setUnsent(r *Record, to ShardSet) { s.change(r).Unsent = to }

// forMissing applies change to the channel of each other shard whose verdict the record still lacks.
func (s *Records) forMissing(r *Record, change func(*Channel)) {
	for i := range r.Part.Known {
		if k := &r.Part.Known[i]; k.Verdict == 0 && k.Shard != s.x.cfg.Shard {
			change(s.channels.change(k.Shard))
		}
	}
}

// Close closes a record. It panics if this shard's verdict is not sent to all shards yet.
func (s *Records) Close(r *Record) {
	p := s.change(r)
	if p.Unsent != 0 {
		panic(fmt.Sprintf("ledger: the record of transaction %s is closed before its verdict is sent to all shards", p.Tx))
	}
	p.Open = false
}

// closeExpired calls expire for open records whose expiry minute has passed.
func (s *Records) closeExpired(b *kv.Batch, expire func(*Record) error) error {
	return s.due.take(b, s.x, func(id TxID) error {
		r, err := s.Get(id)
		if err != nil || r == nil {
			return err
		}
		return expire(r)
	})
}

// write writes the changed records.
func (s *Records) write(b *kv.Batch) {
	for _, r := range s.changed {
		id := digest.Digest(r.Part.Tx)
		value := r.Part.encode()
		s.x.writes = append(append(s.x.writes, id[:]...), value...)
		b.Set(append([]byte{keyPart}, id[:]...), value)
		switch {
		case r.opened && r.Part.Open:
			b.Set(append([]byte{keyOpen}, id[:]...), r.Tx.raw)
		case !r.opened && !r.Part.Open:
			b.Delete(append([]byte{keyOpen}, id[:]...))
		}
	}
}
