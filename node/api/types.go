// Package api is the HTTP interface of a replica: its types, its server and, in package client, its client.
package api

import (
	"context"
	"time"

	"bdtnode/ledger"
)

// Wait is how far a transaction has to come before the replica answers.
type Wait string

// The stages a client can wait for. Ordered and settled mean: committed, executed, and on this replica's disk.
// Certified means that f+1 replicas signed the header of its block.
const (
	WaitAccepted  Wait = "accepted"
	WaitOrdered   Wait = "ordered"
	WaitCertified Wait = "certified"
	WaitSettled   Wait = "settled"
)

// State is what became of a transaction so far.
type State string

// The states of a transaction. Settled and rejected are final, and come for each that was accepted.
const (
	StateUnknown   State = "unknown"   // this replica has never seen it, has forgotten it, or did not take it; Reason says why
	StateWaiting   State = "waiting"   // not accepted: an input is not there yet, or the batch is not on disk; kept in memory
	StateAccepted  State = "accepted"  // on this replica's disk; a final answer will come
	StateOrdered   State = "ordered"   // in a committed block, not everywhere settled
	StateCertified State = "certified" // its block's header carries f+1 VOTEs
	StateSettled   State = "settled"   // its outputs exist in every shard that it creates some in
	StateRejected  State = "rejected"  // can never settle; Reason says why
)

// Seen is the state of a transaction that is in a committed block and not known to be settled or rejected.
func Seen(certified bool) State {
	if certified {
		return StateCertified
	}
	return StateOrdered
}

// MaxTxsPerRequest is how many transactions one POST may carry.
const MaxTxsPerRequest = 1000

// TxAnswer is what a replica says of one transaction.
type TxAnswer struct {
	ID        ledger.TxID `json:"id" doc:"transaction id, hexadecimal"`
	State     State       `json:"state" enum:"unknown,waiting,accepted,ordered,certified,settled,rejected"`
	Certified bool        `json:"certified" doc:"whether f+1 replicas signed the header of its block"`
	Reason    string      `json:"reason,omitempty" doc:"machine-readable reason of a rejection"`
	Detail    string      `json:"detail,omitempty" doc:"the reason in words"`
	TimedOut  bool        `json:"timed_out,omitempty" doc:"the wait ended before the stage was reached; the outcome is still open"`
	Shard     uint16      `json:"shard"`
	Height    uint64      `json:"height,omitempty" doc:"block that ordered it, 0 while it has none"`
	RetryMS   int64       `json:"retry_ms,omitempty" doc:"with reason book_full or busy: when to try again"`
	Parts     []Part      `json:"parts,omitempty" doc:"of a transaction between shards: what became of it in each"`
	Inputs    []uint16    `json:"input_shards,omitempty" doc:"of a transaction between shards: those it spends in"`
	Outputs   []uint16    `json:"output_shards,omitempty" doc:"of a transaction between shards: those it creates outputs in; it is settled when they exist in all of these"`
	// Unconfirmed is set if the state is not the word of f+1 replicas, or if shards contradict each other, which needs
	// one with more than f Byzantine replicas. The state is none that is final then.
	Unconfirmed bool `json:"unconfirmed,omitempty" doc:"fewer than f+1 replicas of a shard say so, or shards contradict each other"`
}

// Part is one shard's part of a transaction between shards.
type Part struct {
	Shard    uint16        `json:"shard"`
	Stage    string        `json:"stage" enum:"pending,escrow,settled,returned,rejected,unreachable,unconfirmed" doc:"pending: nothing consumed or created here; escrow: its inputs here are held for it; settled, returned, rejected: final; unreachable: no replica of the shard answers; unconfirmed: too few of them give equal answers"`
	Height   uint64        `json:"height,omitempty" doc:"block that brought it to the stage"`
	Verdicts []PartVerdict `json:"verdicts,omitempty" nullable:"false" doc:"what this shard knows of each input shard's verdict"`
}

// PartVerdict is an input shard's final word on a transaction.
type PartVerdict struct {
	Shard   uint16 `json:"shard"`
	Verdict string `json:"verdict" enum:"unknown,spent,rejected"`
	Reason  string `json:"reason,omitempty" doc:"of a rejection"`
	Height  uint64 `json:"height,omitempty" doc:"block of the answering shard that noted it"`
}

// SubmitAnswer is the body of an answered POST /v1/txs.
type SubmitAnswer struct {
	Answers []TxAnswer `json:"answers" nullable:"false" doc:"one for each transaction, in their order"`
}

// Stages of a [Part] that is not known.
const (
	StageUnreachable = "unreachable" // no replica of the shard answers
	StageUnconfirmed = "unconfirmed" // replicas of the shard answer, and fewer than f+1 of them give equal answers
)

// Change is where an account was changed last.
type Change struct {
	Height   uint64 `json:"height"`
	Position uint64 `json:"position" doc:"of the change among all of the account, the first being 1; 0 if it never changed"`
}

// Account is what an address owns.
type Account struct {
	Address ledger.Address `json:"address"`
	Shard   uint16         `json:"shard" doc:"home shard of the address"`
	Height  uint64         `json:"height" doc:"block height the answer was read at"`
	Changed Change         `json:"changed" doc:"the last change of the account up to that height; replicas that agree on it agree on the account"`
	Balance uint64         `json:"balance" doc:"sum of unspent outputs"`
	Count   uint64         `json:"count" doc:"number of unspent outputs"`
	Outputs []Output       `json:"outputs" nullable:"false" doc:"unspent outputs, a page of them"`
	Next    string         `json:"next,omitempty" doc:"cursor of the next page of outputs"`
	History []HistoryEntry `json:"history,omitempty" nullable:"false" doc:"newest first, a page of it"`
	Older   string         `json:"older,omitempty" doc:"cursor of the next page of history"`
	// Unconfirmed is set on an answer from another shard that fewer than f+1 of its replicas gave.
	Unconfirmed bool `json:"unconfirmed,omitempty" doc:"fewer than f+1 replicas of the home shard agree on this answer: the account goes on changing, or they do not answer"`
}

// Output is one unspent output.
type Output struct {
	Tx     ledger.TxID `json:"tx"`
	Index  uint16      `json:"index"`
	Amount uint64      `json:"amount"`
}

// HistoryEntry is one transaction's effect on an address.
type HistoryEntry struct {
	Tx       ledger.TxID `json:"tx"`
	Height   uint64      `json:"height"`
	TimeMS   uint64      `json:"time_ms" doc:"block time, Unix milliseconds"`
	Received uint64      `json:"received"`
	Spent    uint64      `json:"spent"`
}

// Block is a committed block as executed.
type Block struct {
	Shard      uint16        `json:"shard"`
	Height     uint64        `json:"height"`
	HeaderHash string        `json:"header_digest"`
	Header     string        `json:"header" doc:"canonical encoding, base64"`
	Parent     string        `json:"parent" doc:"digest of the header before"`
	Block      string        `json:"block" doc:"digest of the consensus block"`
	Epoch      uint64        `json:"epoch"`
	Slot       uint64        `json:"slot"`
	TimeMS     uint64        `json:"time_ms"`
	TxRoot     string        `json:"tx_root"`
	Receipts   string        `json:"receipt_root"`
	WriteSet   string        `json:"write_set"`
	Certified  bool          `json:"certified"`
	Signers    []uint16      `json:"signers" nullable:"false" doc:"replicas whose VOTE this replica holds in the certificate"`
	Txs        []ledger.TxID `json:"txs" nullable:"false"`
}

// Status is how a replica is doing.
type Status struct {
	Version       string  `json:"version"`
	Network       string  `json:"network" doc:"genesis id"`
	NetworkName   string  `json:"network_name"`
	Consensus     string  `json:"consensus"`
	HorizonMS     uint64  `json:"horizon_ms" doc:"how far past block time a transaction may expire"`
	LeastFee      uint64  `json:"least_fee" doc:"least fee of a transaction for each byte of its encoding"`
	Shard         uint16  `json:"shard"`
	Shards        int     `json:"shards"`
	Replica       uint16  `json:"replica"`
	Replicas      int     `json:"replicas"`
	Faulty        int     `json:"max_faulty" doc:"f"`
	PeerID        string  `json:"peer_id"`
	Epoch         uint64  `json:"epoch"`
	Leader        uint16  `json:"leader"`
	Height        uint64  `json:"height" doc:"last executed block"`
	Certified     uint64  `json:"certified_height"`
	HeaderDigest  string  `json:"header_digest" doc:"of the last executed block"`
	BlockTimeMS   uint64  `json:"block_time_ms"`
	TxsOrdered    uint64  `json:"txs_ordered" doc:"transactions in blocks since genesis"`
	BookSize      int     `json:"book_size"`
	ConnectedPeer int     `json:"connected_peers" doc:"replicas of this shard with open streams, without itself"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	CPUSeconds    float64 `json:"cpu_seconds" doc:"user and system time of the process"`
	Syncs         uint64  `json:"syncs" doc:"disk syncs since start"`
	LatencyMS     float64 `json:"latency_ms" doc:"median time from acceptance to execution of the transactions submitted to this replica in the last seconds, 0 if there were none"`
	Ready         bool    `json:"ready"`
	NotReady      string  `json:"not_ready,omitempty" doc:"why it is not ready"`
	Answering     int     `json:"answering" doc:"replicas of this shard whose engines answered in the last 3 s, with itself; n-f are needed to be ready"`
	WaitingMS     int64   `json:"waiting_ms" doc:"for how long, since the last commit at the earliest, it has known of something to commit; 0 if it knows of nothing"`
	ClockOffsetMS int64   `json:"clock_offset_ms" doc:"median of the shard's clocks less its own"`
	Degraded      string  `json:"degraded,omitempty" doc:"what is wrong with it, though it may take part"`
}

// Peer is one replica as this one sees it.
type Peer struct {
	Shard     uint16   `json:"shard"`
	Replica   uint16   `json:"replica"`
	PeerID    string   `json:"peer_id"`
	Self      bool     `json:"self"`
	Connected bool     `json:"connected"`
	Addresses []string `json:"addresses" nullable:"false"`
	RTTMicros int64    `json:"rtt_us" doc:"0 if unknown"`
	Height    uint64   `json:"height" doc:"highest it reported, 0 if none"`
	Answers   bool     `json:"answers" doc:"whether its engine answered in the last 3 s; only of this shard"`
	ClockMS   int64    `json:"clock_ms" doc:"how far its clock is ahead of this replica's, 0 if unknown"`
}

// PeerList is the body of an answered GET /v1/peers.
type PeerList struct {
	Peers []Peer `json:"peers" nullable:"false"`
}

// Commit is a moment at which a replica's committed height moved.
type Commit struct {
	Height   uint64 `json:"height" doc:"reached then"`
	Epoch    uint64 `json:"epoch" doc:"that the replica was in after it: the next one, if the block ended one"`
	Leader   uint16 `json:"leader" doc:"of that epoch"`
	AtUS     int64  `json:"at_us" doc:"Unix microseconds, by this replica's clock"`
	WaitedUS int64  `json:"waited_us" doc:"how long before, without a pause and since the commit before at the earliest, this replica knew of something to commit"`
}

// CommitList is the body of an answered GET /v1/commits.
type CommitList struct {
	Commits   []Commit `json:"commits" nullable:"false" doc:"oldest first, at most 1,024; the first since the replica started is where it was then"`
	WaitingUS int64    `json:"waiting_us" doc:"for how long, since the last commit at the earliest, the replica has known of something to commit; 0 if it knows of nothing"`
}

// Readiness is the body of an answered GET /readyz of a replica that is ready.
type Readiness struct {
	Ready    bool   `json:"ready"`
	Degraded string `json:"degraded,omitempty" doc:"what is wrong with it, though it takes part"`
}

// MaxPage is how many outputs or history entries one answer may list.
const MaxPage = 1000

// Audit is the whole value a replica holds, counted output by output at one height.
type Audit struct {
	Shard        uint16 `json:"shard"`
	Height       uint64 `json:"height"`
	HeaderDigest string `json:"header_digest"`
	Outputs      uint64 `json:"outputs"`
	Unspent      uint64 `json:"unspent"`
	Escrow       uint64 `json:"escrow" doc:"value held for transactions between shards that are not decided"`
	Open         uint64 `json:"open" doc:"records of transactions between shards that are not closed"`
	Burned       uint64 `json:"burned"`
	Gained       uint64 `json:"gained" doc:"value created here beyond what was let go of here"`
	Ceded        uint64 `json:"ceded" doc:"value let go of here beyond what was created here; over all shards of a quiet network it equals what was gained"`
	Genesis      uint64 `json:"genesis" doc:"value the shard was born with"`
	Conserved    bool   `json:"conserved" doc:"unspent + escrow + burned + ceded = genesis + gained"`
}

// Backend is what the server needs of the node. Every method may be called concurrently, and answers an error that
// is one of ledger's or this package's sentinel errors where the client is to tell it apart.
type Backend interface {
	// Submit takes encoded transactions of a client, whose host and port are given, and answers for each, in their
	// order, when each has reached the stage, was rejected, or the context ended (then with TimedOut). Copies of one
	// transaction share one answer.
	Submit(ctx context.Context, from string, txs [][]byte, wait Wait) []*TxAnswer
	Tx(ctx context.Context, id ledger.TxID) (TxAnswer, error)
	// Account answers a page of outputs (limit, from cursor) and of history (historyLimit, from older); limits of 0
	// leave that list out. Cursors are what the page before answered, or empty.
	Account(ctx context.Context, a ledger.Address, cursor string, limit int, older string, historyLimit int) (Account, error)
	Block(ctx context.Context, shard uint16, height uint64) (Block, error)
	Status() Status
	Peers() []Peer
	// Commits is the newest commits above a height.
	Commits(after uint64) CommitList
	Audit(ctx context.Context) (Audit, error)
}

// MaxWait bounds how long a request may wait for a stage.
const MaxWait = 60 * time.Second
