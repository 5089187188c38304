package api

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"bdtnode/ledger"
)

// EventKind is the kind of an [Event].
type EventKind string

// The kinds of events. Those from EventBlock to EventTransaction follow from the shard's blocks, so they are the same on
// every replica of the shard. EventCommit is a measurement of one replica.
const (
	EventCommit      EventKind = "commit"      // the replica's committed height increased
	EventBlock       EventKind = "block"       // a block was executed
	EventEpoch       EventKind = "epoch"       // the block ended its epoch
	EventEvidence    EventKind = "evidence"    // the block froze the channel of another shard, with a proof against it
	EventVerdict     EventKind = "verdict"     // a transaction was rejected here, or its inputs here went into escrow
	EventSettlement  EventKind = "settlement"  // a transaction settled here, or its escrow was returned
	EventTransaction EventKind = "transaction" // a transaction changed a followed account
	EventGap         EventKind = "gap"         // the replica does not have some events
	EventEnd         EventKind = "end"         // the last event of a stream
)

// ChosenKinds are the kinds that a reader can choose. Events of other kinds come without being chosen.
func ChosenKinds() []EventKind {
	return []EventKind{EventCommit, EventBlock, EventEpoch, EventEvidence, EventVerdict, EventSettlement, EventTransaction}
}

// Reasons of the end of a stream.
const (
	EndTip      = "tip"      // all events so far were sent, and the reader does not follow
	EndSlow     = "slow"     // the reader took the events too slowly
	EndStopping = "stopping" // the replica stops
	EndFailed   = "failed"   // the replica could not read the events, see its log
)

// Event is one event of a shard. It has the object of its kind.
type Event struct {
	Kind   EventKind `json:"kind" enum:"commit,block,epoch,evidence,verdict,settlement,transaction,gap,end"`
	Cursor string    `json:"cursor" doc:"place of the event; a stream from it begins after the event, at any replica of the shard"`
	Shard  uint16    `json:"shard"`
	Height uint64    `json:"height,string" doc:"height of the block"`
	TimeMS uint64    `json:"time_ms,omitempty" doc:"block time, Unix milliseconds; not with commit, gap and end"`

	Commit      *CommitEvent      `json:"commit,omitempty"`
	Block       *BlockEvent       `json:"block,omitempty"`
	Epoch       *EpochEvent       `json:"epoch,omitempty"`
	Evidence    *EvidenceEvent    `json:"evidence,omitempty"`
	Verdict     *ReceiptEvent     `json:"verdict,omitempty"`
	Settlement  *ReceiptEvent     `json:"settlement,omitempty"`
	Transaction *TransactionEvent `json:"transaction,omitempty"`
	Gap         *GapEvent         `json:"gap,omitempty"`
	End         *EndEvent         `json:"end,omitempty"`
}

// CommitEvent is a moment at which the replica's committed height increased.
type CommitEvent struct {
	Epoch    uint64 `json:"epoch" doc:"epoch after the commit: the next one, if the block ended an epoch"`
	Leader   uint16 `json:"leader" doc:"leader of that epoch"`
	AtUS     int64  `json:"at_us" doc:"time of the commit, Unix microseconds by this replica's clock"`
	WaitedUS int64  `json:"waited_us" doc:"microseconds before the commit for which this replica had known of work to commit without a pause, since the commit before at the earliest"`
}

// BlockEvent describes an executed block.
type BlockEvent struct {
	HeaderDigest string `json:"header_digest"`
	Epoch        uint64 `json:"epoch"`
	Slot         uint64 `json:"slot"`
	Last         bool   `json:"last" doc:"the block ended its epoch"`
	Txs          uint64 `json:"txs" doc:"receipts in this block and all earlier ones"`
}

// EpochEvent is the end of an epoch.
type EpochEvent struct {
	Ended uint64 `json:"ended" doc:"number of the epoch"`
}

// EvidenceEvent is a proof that another shard has more than f Byzantine replicas. Its channel is frozen from then on.
type EvidenceEvent struct {
	Against  uint16 `json:"against" doc:"the shard"`
	Delivery uint64 `json:"delivery" doc:"number of the delivery that breaks a rule"`
	Digest   string `json:"digest" doc:"digest of that delivery"`
	Detail   string `json:"detail" doc:"the broken rule"`
}

// ReceiptEvent is a receipt of a transaction.
type ReceiptEvent struct {
	Tx       ledger.TxID `json:"tx"`
	Position uint32      `json:"position" doc:"among the receipts of the block, from 0"`
	Result   string      `json:"result" enum:"spent,rejected,settled,returned" doc:"of a verdict: spent (the inputs here are in escrow) or rejected; of a settlement: settled or returned (the escrow went back to the owners)"`
	Reason   string      `json:"reason,omitempty" doc:"reason of a rejection or return"`
}

// TransactionEvent is the effect of a transaction on the followed accounts.
type TransactionEvent struct {
	Tx       ledger.TxID     `json:"tx"`
	Position uint32          `json:"position" doc:"of its receipt among those of the block, from 0"`
	Changes  []AccountChange `json:"changes" nullable:"false" doc:"one for each followed account that it changed"`
}

// AccountChange is the effect of one transaction on one account.
type AccountChange struct {
	Address  ledger.Address `json:"address"`
	Received uint64         `json:"received,string"`
	Spent    uint64         `json:"spent,string"`
}

// GapEvent names events that the replica does not have.
type GapEvent struct {
	From   uint64      `json:"from,string" doc:"first height"`
	To     uint64      `json:"to,string" doc:"last height"`
	Kinds  []EventKind `json:"kinds" nullable:"false" doc:"kinds of the missing events"`
	Reason string      `json:"reason"`
}

// EndEvent is the reason of the end of a stream.
type EndEvent struct {
	Reason string `json:"reason" enum:"tip,slow,stopping,failed"`
	Detail string `json:"detail"`
}

// Cursor is a place in the events of a shard: all events of blocks below Height, and those of block Height up to Index.
type Cursor struct {
	Height uint64
	Index  uint32
}

// Whole is the index of a cursor behind all events of its block.
const Whole = math.MaxUint32

// Text is the cursor with its shard, as events have it: "0/12" or "0/12.67".
func (c Cursor) Text(shard uint16) string {
	b := strconv.AppendUint(make([]byte, 0, 32), uint64(shard), 10)
	b = strconv.AppendUint(append(b, '/'), c.Height, 10)
	if c.Index != Whole {
		b = strconv.AppendUint(append(b, '.'), uint64(c.Index), 10)
	}
	return string(b)
}

// ParseCursor reads the text of a cursor. The shard may be missing; another one than the given shard is an error.
func ParseCursor(text string, shard uint16) (Cursor, error) {
	bad := func() (Cursor, error) {
		return Cursor{}, fmt.Errorf("%q is not a cursor: use a height, or the cursor of an event such as %d/12.67", text, shard)
	}
	place := text
	if of, rest, ok := strings.Cut(text, "/"); ok {
		n, err := parseDigits(of, 16)
		if err != nil {
			return bad()
		}
		if uint16(n) != shard {
			return Cursor{}, fmt.Errorf("cursor %q is of shard %d, and this replica is in shard %d: ask a replica of shard %d", text, n, shard, n)
		}
		place = rest
	}
	height, index, partial := strings.Cut(place, ".")
	c := Cursor{Index: Whole}
	var err error
	if c.Height, err = parseDigits(height, 63); err != nil { // a number above the greatest height has 64 bits too
		return bad()
	}
	if partial {
		n, err := parseDigits(index, 32)
		if err != nil || n == Whole {
			return bad()
		}
		c.Index = uint32(n)
	}
	return c, nil
}

// parseDigits parses a number that has digits only.
func parseDigits(text string, bits int) (uint64, error) {
	if strings.HasPrefix(text, "+") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(text, 10, bits)
}

// EncodeEvent encodes an event for a stream of server-sent events: its cursor as the id, its kind as the name, and JSON.
func EncodeEvent(e *Event) []byte {
	b := make([]byte, 0, 384)
	b = append(append(b, "id: "...), e.Cursor...)
	b = append(append(b, "\nevent: "...), e.Kind...)
	b = append(b, "\ndata: "...)
	if r := e.receipt(); r != nil && isWord(r.Result) && isWord(r.Reason) {
		b = appendReceipt(b, e, r)
	} else {
		data, err := json.Marshal(e)
		if err != nil {
			panic(fmt.Sprintf("api: an event cannot be encoded: %v", err)) // it has only numbers and texts
		}
		b = append(b, data...)
	}
	return append(b, "\n\n"...)
}

// receipt is the receipt of an event of one, else nil.
func (e *Event) receipt() *ReceiptEvent {
	switch e.Kind {
	case EventVerdict:
		return e.Verdict
	case EventSettlement:
		return e.Settlement
	default:
		return nil
	}
}

// appendReceipt appends the JSON of an event of a receipt, of which a busy shard has thousands a second. The library takes
// several times as long.
func appendReceipt(b []byte, e *Event, r *ReceiptEvent) []byte {
	b = append(append(b, `{"kind":"`...), e.Kind...)
	b = append(append(b, `","cursor":"`...), e.Cursor...)
	b = strconv.AppendUint(append(b, `","shard":`...), uint64(e.Shard), 10)
	b = strconv.AppendUint(append(b, `,"height":"`...), e.Height, 10)
	b = append(b, '"')
	if e.TimeMS != 0 {
		b = strconv.AppendUint(append(b, `,"time_ms":`...), e.TimeMS, 10)
	}
	b = append(append(append(b, `,"`...), e.Kind...), `":{"tx":"`...)
	b = hex.AppendEncode(b, r.Tx[:])
	b = strconv.AppendUint(append(b, `","position":`...), uint64(r.Position), 10)
	b = append(append(b, `,"result":"`...), r.Result...)
	if r.Reason != "" {
		b = append(append(b, `","reason":"`...), r.Reason...)
	}
	return append(b, `"}}`...)
}

// isWord reports whether a text is the same in JSON: it has only letters, digits and underscores.
func isWord(text string) bool {
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// EventQuery selects events.
type EventQuery struct {
	From     *Cursor // the stream begins after it; nil: after the last executed block
	Kinds    []EventKind
	Accounts []ledger.Address // for EventTransaction
	Follow   bool             // the stream continues with the events of later blocks
}

// EventStream is the stream of one reader. One goroutine at a time may use it.
type EventStream interface {
	// At is the place to which the stream has come.
	At() Cursor
	// Next returns the next events, encoded by [EncodeEvent] one after another, or waits for some until ctx ends. They are
	// valid until the next call. The error is [io.EOF] if all events so far were returned and the stream does not follow.
	Next(ctx context.Context) (events []byte, err error)
	// Close ends the stream. It is called once, after the last call of Next.
	Close()
}

// chosenOf parses the kinds of a request. Without any, they are transaction if there are accounts, else all kinds that
// are the same on all replicas and need no account.
func chosenOf(names []string, accounts bool) ([]EventKind, error) {
	if len(names) == 0 && accounts {
		return []EventKind{EventTransaction}, nil
	}
	if len(names) == 0 {
		return []EventKind{EventBlock, EventEpoch, EventEvidence, EventVerdict, EventSettlement}, nil
	}
	var out []EventKind
	for _, name := range names {
		kind := EventKind(name)
		if !slices.Contains(ChosenKinds(), kind) {
			return nil, fmt.Errorf("kind %q is unknown: use %s", name, joined(ChosenKinds()))
		}
		out = append(out, kind)
	}
	switch wants := slices.Contains(out, EventTransaction); {
	case wants && !accounts:
		return nil, fmt.Errorf("kind %s needs an account", EventTransaction)
	case !wants && accounts:
		return nil, fmt.Errorf("an account selects events of kind %s, which is not among the kinds", EventTransaction)
	}
	return out, nil
}

func joined[T ~string](list []T) string {
	var b bytes.Buffer
	for i, word := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}
