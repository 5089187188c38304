// Package api is the HTTP API of a replica: its types and its server. Package node/client is the client.
package api

import (
	"context"
	"time"

	"bdtnode/ledger"
)

// Wait is a stage that a transaction must reach before the replica answers.
type Wait string

// The stages for which a client can wait. Ordered and settled mean: committed, executed, and on this replica's disk.
// Certified means that f+1 replicas signed the header of its block.
const (
	WaitAccepted  Wait = "accepted"
	WaitOrdered   Wait = "ordered"
	WaitCertified Wait = "certified"
	WaitSettled   Wait = "settled"
)

// State is the state of a transaction.
type State string

// The states of a transaction. Settled and rejected are final, and every accepted transaction reaches one of them.
const (
	StateUnknown   State = "unknown"   // this replica has never seen it, has forgotten it, or did not accept it; Reason describes the cause
	StateWaiting   State = "waiting"   // not accepted: an input does not exist yet, or the batch is not on disk; kept in memory
	StateAccepted  State = "accepted"  // on this replica's disk; a final answer will come
	StateOrdered   State = "ordered"   // in a committed block, and not known to be settled in all its shards
	StateCertified State = "certified" // the header of its block has f+1 VOTEs
	StateSettled   State = "settled"   // its outputs exist in every shard in which it creates some
	StateRejected  State = "rejected"  // can never settle; Reason describes the cause
)

// Seen is the state of a transaction in a committed block that is not known to be settled or rejected.
func Seen(certified bool) State {
	if certified {
		return StateCertified
	}
	return StateOrdered
}

// MaxTxsPerRequest is the largest number of transactions in one POST.
const MaxTxsPerRequest = 1000

// TxAnswer is a replica's answer about one transaction.
type TxAnswer struct {
	ID        ledger.TxID `json:"id" doc:"transaction id, hexadecimal"`
	State     State       `json:"state" enum:"unknown,waiting,accepted,ordered,certified,settled,rejected"`
	Certified bool        `json:"certified" doc:"whether f+1 replicas signed the header of its block"`
	Reason    string      `json:"reason,omitempty" doc:"machine-readable reason of a rejection"`
	Detail    string      `json:"detail,omitempty" doc:"description of the reason"`
	TimedOut  bool        `json:"timed_out,omitempty" doc:"the wait ended before the stage was reached; the outcome is not final"`
	Shard     uint16      `json:"shard"`
	Height    uint64      `json:"height,omitempty,string" doc:"height of the block that ordered it, 0 if there is none yet"`
	RetryMS   int64       `json:"retry_ms,omitempty" doc:"with reason book_full, busy or shard_busy: milliseconds after which to try again"`
	BusyShard *uint16     `json:"busy_shard,omitempty" doc:"with reason shard_busy: the shard that is too far behind"`
	BusySince uint64      `json:"busy_since_ms,omitempty" doc:"with reason shard_busy: block time since which that shard has acknowledged no LD, or at which its channel was frozen, Unix milliseconds; missing if unknown"`
	Parts     []Part      `json:"parts,omitempty" doc:"parts of a transaction between shards, one for each shard"`
	Inputs    []uint16    `json:"input_shards,omitempty" doc:"shards in which a transaction between shards spends"`
	Outputs   []uint16    `json:"output_shards,omitempty" doc:"shards in which a transaction between shards creates outputs; it is settled when the outputs exist in all of them"`
	// Unconfirmed is set if fewer than f+1 replicas report the state, or if shards contradict each other, which
	// requires a shard with more than f Byzantine replicas. Then the state is not a final one.
	Unconfirmed bool `json:"unconfirmed,omitempty" doc:"fewer than f+1 replicas of a shard report this state, or shards contradict each other"`
}

// Part is one shard's part of a transaction between shards.
type Part struct {
	Shard    uint16        `json:"shard"`
	Stage    string        `json:"stage" enum:"pending,escrow,settled,returned,rejected,unreachable,unconfirmed" doc:"pending: nothing consumed or created here; escrow: its inputs here are in escrow; settled, returned, rejected: final; unreachable: no replica of the shard answers; unconfirmed: too few of them give equal answers"`
	Height   uint64        `json:"height,omitempty,string" doc:"height of the block in which it reached the stage"`
	Reason   string        `json:"reason,omitempty" doc:"of a part that is returned or rejected: the reason in its receipt; cancelled if a CL of another shard returned the escrow"`
	Verdicts []PartVerdict `json:"verdicts,omitempty" nullable:"false" doc:"verdicts of the input shards that this shard knows"`
}

// PartVerdict is the final verdict of an input shard on a transaction.
type PartVerdict struct {
	Shard   uint16 `json:"shard"`
	Verdict string `json:"verdict" enum:"unknown,spent,rejected"`
	Reason  string `json:"reason,omitempty" doc:"reason of a rejection"`
	Height  uint64 `json:"height,omitempty,string" doc:"height of the block of the answering shard that recorded the verdict"`
}

// SubmitAnswer is the body of a successful answer to POST /v1/txs.
type SubmitAnswer struct {
	Answers []TxAnswer `json:"answers" nullable:"false" doc:"one for each transaction, in the order of the request"`
}

// Stages of a [Part] whose stage is not known.
const (
	StageUnreachable = "unreachable" // no replica of the shard answers
	StageUnconfirmed = "unconfirmed" // replicas of the shard answer, but fewer than f+1 give equal answers
)

// Proof is the body of a successful answer to GET /v1/txs/{id}/proof.
type Proof struct {
	ID    ledger.TxID `json:"id" doc:"transaction id, hexadecimal"`
	Proof string      `json:"proof" doc:"proof of the transaction's result in all its shards, base64"`
}

// Change identifies the last change of an account.
type Change struct {
	Height   uint64 `json:"height,string"`
	Position uint64 `json:"position" doc:"number of the change among all changes of the account, beginning with 1; 0 if it never changed"`
}

// Account is the balance, outputs and history of an address.
type Account struct {
	Address ledger.Address `json:"address"`
	Shard   uint16         `json:"shard" doc:"home shard of the address"`
	Height  uint64         `json:"height,string" doc:"block height at which the answer was read"`
	Changed Change         `json:"changed" doc:"last change of the account up to that height; replicas with the same last change have the same account"`
	Balance uint64         `json:"balance,string" doc:"sum of unspent outputs"`
	Count   uint64         `json:"count" doc:"number of unspent outputs"`
	Outputs []Output       `json:"outputs" nullable:"false" doc:"page of unspent outputs"`
	Next    string         `json:"next,omitempty" doc:"cursor of the next page of outputs"`
	History []HistoryEntry `json:"history,omitempty" nullable:"false" doc:"page of the history, newest first"`
	Older   string         `json:"older,omitempty" doc:"cursor of the next page of history"`

	PrunedBelow uint64 `json:"pruned_below,omitempty,string" doc:"set if further entries of the history are deleted: those of blocks below this height"`
	// Unconfirmed is set on an answer from another shard that fewer than f+1 of its replicas gave.
	Unconfirmed bool `json:"unconfirmed,omitempty" doc:"fewer than f+1 replicas of the home shard agree on this answer: the account keeps changing, or replicas do not answer"`
}

// Output is an unspent output.
type Output struct {
	Tx     ledger.TxID `json:"tx"`
	Index  uint16      `json:"index"`
	Amount uint64      `json:"amount,string"`
}

// HistoryEntry is the effect of one transaction on an address.
type HistoryEntry struct {
	Tx       ledger.TxID `json:"tx"`
	Height   uint64      `json:"height,string"`
	TimeMS   uint64      `json:"time_ms" doc:"block time, Unix milliseconds"`
	Received uint64      `json:"received,string"`
	Spent    uint64      `json:"spent,string"`
}

// Block is a committed and executed block.
type Block struct {
	Shard      uint16        `json:"shard"`
	Height     uint64        `json:"height,string"`
	HeaderHash string        `json:"header_digest"`
	Header     string        `json:"header" doc:"canonical encoding, base64"`
	Parent     string        `json:"parent" doc:"digest of the parent header"`
	Block      string        `json:"block" doc:"digest of the consensus block"`
	Epoch      uint64        `json:"epoch"`
	Slot       uint64        `json:"slot"`
	TimeMS     uint64        `json:"time_ms"`
	TxRoot     string        `json:"tx_root"`
	Receipts   string        `json:"receipt_root"`
	WriteSet   string        `json:"write_set"`
	Certified  bool          `json:"certified"`
	Signers    []uint16      `json:"signers" nullable:"false" doc:"replicas whose VOTEs are in this replica's certificate"`
	Txs        []ledger.TxID `json:"txs" nullable:"false"`
}

// Status is the status of a replica.
type Status struct {
	Version       string  `json:"version"`
	Network       string  `json:"network" doc:"genesis id"`
	NetworkName   string  `json:"network_name"`
	Consensus     string  `json:"consensus"`
	Ledger        string  `json:"ledger" enum:"payments,log" doc:"payments: transactions and accounts; log: opaque payloads"`
	HorizonMS     uint64  `json:"horizon_ms" doc:"longest time from block time to the expiry of a transaction, in milliseconds"`
	LeastFee      uint64  `json:"least_fee,string" doc:"least fee of a transaction for each byte of its encoding"`
	Shard         uint16  `json:"shard"`
	Shards        int     `json:"shards"`
	Replica       uint16  `json:"replica"`
	Replicas      int     `json:"replicas"`
	Faulty        int     `json:"max_faulty" doc:"f"`
	PeerID        string  `json:"peer_id"`
	Epoch         uint64  `json:"epoch"`
	Leader        uint16  `json:"leader"`
	Height        uint64  `json:"height,string" doc:"height of the last executed block"`
	Certified     uint64  `json:"certified_height,string"`
	HeaderDigest  string  `json:"header_digest" doc:"digest of the header of the last executed block"`
	BlockTimeMS   uint64  `json:"block_time_ms"`
	TxsOrdered    uint64  `json:"txs_ordered" doc:"transactions in blocks since genesis"`
	BookSize      int     `json:"book_size"`
	ConnectedPeer int     `json:"connected_peers" doc:"other replicas of this shard with open streams"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	CPUSeconds    float64 `json:"cpu_seconds" doc:"user and system time of the process, in seconds"`
	Syncs         uint64  `json:"syncs" doc:"disk syncs since start"`
	LatencyMS     float64 `json:"latency_ms" doc:"median time from acceptance to execution of the transactions submitted to this replica in the last seconds, 0 if there were none"`
	Ready         bool    `json:"ready"`
	NotReady      string  `json:"not_ready,omitempty" doc:"reason why it is not ready"`
	Answering     int     `json:"answering" doc:"replicas of this shard, including this one, whose engines answered in the last 3 s; n-f are needed to be ready"`
	WaitingMS     int64   `json:"waiting_ms" doc:"milliseconds for which it has known of work to commit, since the last commit at the earliest; 0 if it knows of none"`
	ClockOffsetMS int64   `json:"clock_offset_ms" doc:"median of the shard's clocks minus its own clock, in milliseconds"`
	Degraded      string  `json:"degraded,omitempty" doc:"faults of the replica, which may exist while it is ready"`
}

// Peer is a replica as this one sees it.
type Peer struct {
	Shard     uint16   `json:"shard"`
	Replica   uint16   `json:"replica"`
	PeerID    string   `json:"peer_id"`
	Self      bool     `json:"self"`
	Connected bool     `json:"connected"`
	Addresses []string `json:"addresses" nullable:"false"`
	RTTMicros int64    `json:"rtt_us" doc:"round-trip time in microseconds, 0 if unknown"`
	Height    uint64   `json:"height,string" doc:"highest height that it reported, 0 if none"`
	Answers   bool     `json:"answers" doc:"its engine answered in the last 3 s; only for replicas of this shard"`
	ClockMS   int64    `json:"clock_ms" doc:"milliseconds by which its clock is ahead of this replica's clock, 0 if unknown"`
}

// PeerList is the body of a successful answer to GET /v1/peers.
type PeerList struct {
	Peers []Peer `json:"peers" nullable:"false"`
}

// Commit is a moment at which a replica's committed height increased.
type Commit struct {
	Height uint64 // reached by the commit
	CommitEvent
}

// Readiness is the body of the answer to GET /readyz of a ready replica.
type Readiness struct {
	Ready    bool   `json:"ready"`
	Degraded string `json:"degraded,omitempty" doc:"faults of the replica, which exist although it is ready"`
}

// MaxPage is the largest number of outputs or history entries in one answer.
const MaxPage = 1000

// Audit is the whole value that a replica holds, counted output by output at one height.
type Audit struct {
	Shard        uint16 `json:"shard"`
	Height       uint64 `json:"height,string"`
	HeaderDigest string `json:"header_digest"`
	Outputs      uint64 `json:"outputs"`
	Unspent      uint64 `json:"unspent,string"`
	Escrow       uint64 `json:"escrow,string" doc:"value in escrow for undecided transactions between shards"`
	Open         uint64 `json:"open" doc:"number of records of transactions between shards that are not closed"`
	Burned       uint64 `json:"burned,string"`
	Gained       uint64 `json:"gained,string" doc:"value received from other shards minus value sent to them, if positive"`
	Ceded        uint64 `json:"ceded,string" doc:"value sent to other shards minus value received from them, if positive; over all shards of an idle network, ceded equals gained"`
	Genesis      uint64 `json:"genesis,string" doc:"genesis value of the shard"`
	Conserved    bool   `json:"conserved" doc:"unspent + escrow + burned + ceded = genesis + gained"`
}

// Backend is the interface of the node for the server. Every method may be called concurrently. Errors that a client
// can distinguish wrap a sentinel error of this package or of package ledger.
type Backend interface {
	// Submit takes distinct encoded transactions of a client, whose host and port are given, and answers for each, in
	// their order, when each has reached the stage, was rejected, or the context ended (then with TimedOut). With hints,
	// transactions with inputs in several shards are also sent to a replica of each of these shards.
	Submit(ctx context.Context, from string, txs [][]byte, wait Wait, hints bool) []TxAnswer
	Tx(ctx context.Context, id ledger.TxID) (TxAnswer, error)
	// Trace returns the steps of a transaction at this replica and, with others, at the replicas of all its shards.
	Trace(ctx context.Context, id ledger.TxID, others bool) (Trace, error)
	// Proof returns the encoded proof of a transaction's result. The error wraps [ErrNotFound] if there is none yet, or never.
	Proof(ctx context.Context, id ledger.TxID) ([]byte, error)
	// Account returns a page of outputs (up to limit, from cursor) and of history (up to historyLimit, from older). A
	// limit of 0 leaves the list out. A cursor comes from the page before, or is empty.
	Account(ctx context.Context, a ledger.Address, cursor string, limit int, older string, historyLimit int) (Account, error)
	Block(ctx context.Context, shard uint16, height uint64) (Block, error)
	Status() Status
	Peers() []Peer
	// Network returns this replica's report and, with others, the newest reports of other replicas of all shards. It asks
	// for these at most once a second. Concurrent calls share the answers.
	Network(ctx context.Context, others bool) NetworkReports
	// Events opens a stream of events. The error wraps [ErrBadQuery] if the replica does not have such events.
	Events(q EventQuery) (EventStream, error)
	Audit(ctx context.Context) (Audit, error)
}

// LogBackend is the interface of the node for the log, in a network that orders opaque payloads. Every method may be called
// concurrently.
type LogBackend interface {
	// Append takes payloads of a client, whose host and port are given, and answers when all have reached the stage or the
	// context ended (then with TimedOut). It keeps the entries. The error is [ErrLogFull] if it has taken none.
	Append(ctx context.Context, from string, entries ledger.Opaque, wait Wait) (AppendAnswer, error)
	// Log opens a stream of the log.
	Log(q LogQuery) LogStream
	// Payload returns one payload, with an encoded proof if prove is set. The error wraps [ErrNotFound] if there is none at
	// the place, or [ErrUnavailable] if there is no proof yet.
	Payload(at ledger.LogPlace, prove bool) (LogEntries, []byte, error)
}

// MaxWait bounds the time for which a request may wait for a stage.
const MaxWait = 60 * time.Second
