package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// Bounds of a [SettlementView].
const (
	maxRecordsScanned = 50_000 // open records that are read
	maxOldest         = 20     // records that are listed
	recordStride      = 256    // records between two checks of the context
)

// SettlementView is a snapshot of the settlement between shards at one height, for operators.
type SettlementView struct {
	Height   uint64        `json:"height"`
	TimeMS   uint64        `json:"block_time_ms"` // Unix milliseconds
	Unspent  uint64        `json:"unspent"`       // value of the unspent outputs
	Escrow   uint64        `json:"escrow"`        // value held for transactions that are neither settled nor returned
	Burned   uint64        `json:"burned"`
	Gained   uint64        `json:"gained"`
	Ceded    uint64        `json:"ceded"`
	Genesis  uint64        `json:"genesis"`
	Unsent   int           `json:"unsent_verdicts"` // verdicts that wait for space in a block
	Channels []ChannelView `json:"channels"`        // with all other shards with which there was a delivery
	Records  RecordsView   `json:"records"`
	Frozen   []FreezeView  `json:"frozen"`
}

// ChannelView is the state of the deliveries between this shard and another one. Numbers are those of LDs; 0 means none.
type ChannelView struct {
	Shard   uint16 `json:"shard"`
	Sent    uint64 `json:"sent"`    // last one made for the shard
	Shown   uint64 `json:"shown"`   // last one that the shard has shown to be applied
	Applied uint64 `json:"applied"` // last one of the shard that was applied here
	Told    uint64 `json:"told"`    // value of applied that the shard has been sent
	Waiting uint64 `json:"waiting"` // open records that wait for the verdict of the shard
	Escrow  uint64 `json:"escrow"`  // value in escrow here that waits for the verdict of the shard
	Created uint64 `json:"created"` // total value created here because the verdict of the shard was SPENT
	Frozen  bool   `json:"frozen"`
}

// RecordsView counts open records by the age of their present stage.
type RecordsView struct {
	Scanned    int          `json:"scanned"`    // number of open records that were read
	Partial    bool         `json:"partial"`    // there are more, or the time was over
	Unresolved int          `json:"unresolved"` // of those: neither settled, returned nor rejected
	Closing    int          `json:"closing"`    // the others: kept until their verdict is sent and their expiry has passed
	Ages       []AgeCount   `json:"ages"`       // of the unresolved ones
	Oldest     []RecordView `json:"oldest"`     // the oldest unresolved ones, at most 20
}

// AgeCount is the number of records whose age is below a bound and not below the bound before it.
type AgeCount struct {
	BelowMS uint64 `json:"below_ms"` // 0 for no bound
	Count   int    `json:"count"`
}

// ageBounds are the bounds of [RecordsView.Ages] in milliseconds.
var ageBounds = []uint64{1_000, 10_000, 60_000, 600_000, 0}

// RecordView is an open record.
type RecordView struct {
	Tx       TxID     `json:"tx"`
	Stage    string   `json:"stage"`
	Height   uint64   `json:"height"`    // of the block that set the stage
	AgeMS    uint64   `json:"age_ms"`    // from that block's time to now, by this replica's wall clock
	Value    uint64   `json:"value"`     // of its inputs in this shard
	WaitsFor []uint16 `json:"waits_for"` // input shards whose verdict is not known here
	Unsent   []uint16 `json:"unsent_to"` // shards to which this shard's verdict is not sent yet
	ExpiryMS uint64   `json:"expiry_ms"` // Unix milliseconds
}

// FreezeView is a frozen channel.
type FreezeView struct {
	Source   uint16        `json:"source"`
	Number   uint64        `json:"number"`      // of the LD that breaks the rule
	Delivery digest.Digest `json:"delivery"`    // its digest
	Why      string        `json:"why"`         // the broken rule
	Proof    int           `json:"proof_bytes"` // length of the stored proof
}

// Settlement takes a snapshot, while further blocks are executed. nowMS is the wall clock. If the context ends, the
// records that were read so far are counted. The error is one of the store.
func (s *State) Settlement(ctx context.Context, nowMS uint64) (SettlementView, error) {
	channels, err := s.Channels()
	if err != nil {
		return SettlementView{}, err
	}
	frozen, err := s.Frozen()
	if err != nil {
		return SettlementView{}, err
	}
	unsent := 0
	if err := s.store.Scan([]byte{keyUnsent}, []byte{keyUnsent + 1}, false, func(_, _ []byte) bool { unsent++; return true }); err != nil {
		return SettlementView{}, err
	}
	snap, t, err := s.snapshot()
	if err != nil {
		return SettlementView{}, err
	}
	v := SettlementView{
		Height: t.header.Height, TimeMS: t.header.TimeMS, Unspent: t.unspent, Escrow: t.escrow, Burned: t.burned,
		Gained: t.gained, Ceded: t.ceded, Genesis: t.genesis, Unsent: unsent,
		Channels: make([]ChannelView, 0, len(channels)), Frozen: make([]FreezeView, 0, len(frozen)),
	}
	for i := range channels {
		c := &channels[i]
		v.Channels = append(v.Channels, ChannelView{
			Shard: c.Peer, Sent: c.Sent, Shown: c.Acked, Applied: c.Applied, Told: c.AppliedSent,
			Waiting: c.Waiting, Escrow: c.Escrow, Created: c.Created, Frozen: c.Frozen,
		})
	}
	for i := range frozen {
		f := &frozen[i]
		v.Frozen = append(v.Frozen, FreezeView{Source: f.Source, Number: f.Number, Delivery: f.Delivery, Why: f.Why, Proof: len(f.Proof)})
	}
	v.Records, err = s.records(ctx, snap, nowMS)
	return v, errors.Join(err, snap.Close())
}

// records counts the open records in a snapshot.
func (s *State) records(ctx context.Context, snap kv.Reader, nowMS uint64) (RecordsView, error) {
	v := RecordsView{Ages: make([]AgeCount, len(ageBounds)), Oldest: []RecordView{}}
	for i, b := range ageBounds {
		v.Ages[i].BelowMS = b
	}
	times := make(map[uint64]uint64) // block times by height
	err := kv.Each(snap, []byte{keyOpen}, []byte{keyOpen + 1}, false, func(key, raw []byte) (bool, error) {
		if v.Scanned == maxRecordsScanned || v.Scanned%recordStride == recordStride-1 && ctx.Err() != nil {
			v.Partial = true
			return false, nil
		}
		v.Scanned++
		r, err := s.recordView(snap, TxID(key[1:]), raw, nowMS, times)
		if err != nil {
			return false, err
		}
		if r.Stage != StagePending.String() && r.Stage != StageEscrow.String() {
			v.Closing++
			return true, nil
		}
		v.Unresolved++
		for i, b := range ageBounds {
			if r.AgeMS < b || b == 0 {
				v.Ages[i].Count++
				break
			}
		}
		v.addOldest(r)
		return true, nil
	})
	return v, err
}

// addOldest keeps a record if it is one of the oldest so far.
func (v *RecordsView) addOldest(r RecordView) {
	i, _ := slices.BinarySearchFunc(v.Oldest, r, func(a, b RecordView) int {
		switch {
		case a.AgeMS > b.AgeMS:
			return -1
		case a.AgeMS < b.AgeMS:
			return 1
		}
		return 0
	})
	if i < maxOldest {
		v.Oldest = slices.Insert(v.Oldest, i, r)
		v.Oldest = v.Oldest[:min(len(v.Oldest), maxOldest)]
	}
}

func (s *State) recordView(snap kv.Reader, id TxID, raw []byte, nowMS uint64, times map[uint64]uint64) (RecordView, error) {
	part, ok, err := readPart(snap, id, s.cfg.Shard)
	if err == nil && !ok {
		err = fmt.Errorf("the record of transaction %s is missing", id)
	}
	if err != nil {
		return RecordView{}, err
	}
	tx, err := DecodeTx(raw)
	if err != nil {
		return RecordView{}, fmt.Errorf("the record of transaction %s is damaged: %w", id, err)
	}
	at, known := times[part.Height]
	if !known {
		value, ok, err := snap.Get(heightKey(keyHeader, part.Height))
		if err != nil {
			return RecordView{}, err
		}
		if ok {
			h, err := DecodeHeader(value)
			if err != nil {
				return RecordView{}, err
			}
			at = h.TimeMS
		}
		times[part.Height] = at
	}
	r := RecordView{
		Tx: id, Stage: part.Stage.String(), Height: part.Height, AgeMS: nowMS - min(nowMS, at),
		Value: declared(tx, s.cfg.Home, s.cfg.Shard), WaitsFor: []uint16{}, Unsent: part.Unsent.Members(), ExpiryMS: tx.ExpiryMS,
	}
	for i := range part.Known {
		if part.Known[i].Verdict == 0 {
			r.WaitsFor = append(r.WaitsFor, part.Known[i].Shard)
		}
	}
	if r.Unsent == nil {
		r.Unsent = []uint16{}
	}
	return r, nil
}

// OpenTx returns the transaction of an open record, nil if there is none. The error is one of the store.
func (s *State) OpenTx(id TxID) (*Tx, error) {
	raw, ok, err := s.store.Get(append([]byte{keyOpen}, id[:]...))
	if err != nil || !ok {
		return nil, err
	}
	return DecodeTx(raw)
}
