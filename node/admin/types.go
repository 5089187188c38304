package admin

import (
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/node/why"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
)

// Schema is the version of the schema of the answers. A field may be added without a new version. A change of the meaning
// of a field, or its removal, needs one.
const Schema = 1

// Head is the first part of each answer.
type Head struct {
	Schema  int         `json:"schema"`
	Shard   uint16      `json:"shard"`
	Replica uint16      `json:"replica"`
	TimeMS  int64       `json:"time_ms"` // wall clock of the replica, Unix milliseconds
	Errors  []PartError `json:"errors"`  // parts of the answer that are missing, because they failed or did not answer in time
}

// PartError is a missing part of an answer.
type PartError struct {
	Part  string `json:"part"`
	Error string `json:"error"`
}

// Consensus is the answer to GET /v1/consensus.
type Consensus struct {
	Head
	Replicas  int                  `json:"replicas"`
	Quorum    int                  `json:"quorum"`      // n-f
	Weak      int                  `json:"weak_quorum"` // f+1
	Position  Position             `json:"position"`
	Consensus *bdt.View            `json:"consensus"` // null if the loop of the engine did not answer, like the next four
	Headers   *certify.View        `json:"headers"`
	CatchUp   *replica.CatchUpView `json:"catch_up"`
	Start     *replica.StartView   `json:"start"`
	Peers     []replica.PeerView   `json:"peers"`
}

// Position is the state that the engine published after its last input. It is there even if the loop does not answer.
type Position struct {
	Epoch     uint64 `json:"epoch"`
	Leader    uint16 `json:"leader"`
	Committed uint64 `json:"committed"`
	Certified uint64 `json:"certified"`
	Executed  uint64 `json:"executed"`
	Answering int    `json:"answering"`  // replicas whose engines answer, this one included
	WaitingMS int64  `json:"waiting_ms"` // time for which work has waited without any commit, 0 if none waits
	Work      string `json:"work"`       // kind of that work
	Ready     bool   `json:"ready"`
	NotReady  string `json:"not_ready"` // reason, empty if it is ready

	StateHeight uint64 `json:"state_height"` // of the newest state of the ledger with a root, 0 if there is none
	StateRoot   string `json:"state_root"`   // its root, empty if there is none
}

// Lanes is the answer to GET /v1/lanes.
type Lanes struct {
	Head
	Lanes     []lanes.View   `json:"lanes"`            // null if the loop of the engine did not answer
	Batch     string         `json:"no_batch_because"` // the reason why the own lane makes no batch although data waits
	Admission admission.View `json:"admission"`
	Vouching  *vouch.View    `json:"vouching"` // knowledge of the signatures of batches; null if the loop did not answer
}

// Settlement is the answer to GET /v1/settlement.
type Settlement struct {
	Head
	Ledger  *ledger.SettlementView `json:"ledger"`  // null if the store failed
	Inbound []inbound.View         `json:"inbound"` // null if the loop of the engine did not answer
	Reach   []Reach                `json:"reach"`
}

// Reach counts the replicas of another shard that this replica can ask.
type Reach struct {
	Shard     uint16 `json:"shard"`
	Replicas  int    `json:"replicas"`
	Reachable int    `json:"reachable"`
}

// Evidence is the answer to GET /v1/evidence.
type Evidence struct {
	Head
	Frozen []Frozen               `json:"frozen"` // channels of other shards
	Kept   []replica.EvidenceView `json:"kept"`   // evidence that is not ordered yet; null if the loop did not answer
	Lanes  []LaneEvidence         `json:"lanes"`  // lanes with two headers for one number, frozen lanes, and those with bad batches
	Twins  []replica.TwinView     `json:"twins"`  // peers that run as two processes
	Faults []Fault                `json:"faults"` // misbehaviour of peers since the start, the newest last
}

// Frozen is a frozen channel with its proof.
type Frozen struct {
	ledger.FreezeView
	Encoded string `json:"proof"` // hexadecimal; encoded delivery if it was ordered, else encoded evidence
}

// LaneEvidence is a lane whose owner broke the rules.
type LaneEvidence struct {
	Lane      uint16 `json:"lane"`
	Suspected bool   `json:"suspected"` // two headers for one number
	Frozen    bool   `json:"frozen"`
	FrozenAt  uint64 `json:"frozen_at"`
	Bad       bool   `json:"bad"` // a batch with a bad signature
}

// Fault is a misbehaviour of a peer.
type Fault struct {
	Replica uint16 `json:"replica"`
	Reason  string `json:"reason"`
	Count   uint64 `json:"count"`
	FirstMS int64  `json:"first_ms"` // Unix milliseconds, like the next
	LastMS  int64  `json:"last_ms"`
}

// Peers is the answer to GET /v1/peers.
type Peers struct {
	Head
	Peers []Peer `json:"peers"`
}

// Peer is another replica, with its connection.
type Peer struct {
	Shard       uint16   `json:"shard"`
	Replica     uint16   `json:"replica"`
	PeerID      string   `json:"peer_id"`
	Self        bool     `json:"self"`
	Connected   bool     `json:"connected"`
	Addresses   []string `json:"addresses"` // last known ones
	RTTMicros   int64    `json:"rtt_us"`    // measured by the transport in the last 30 s, 0 if unknown
	Height      uint64   `json:"height"`    // highest height that it reported, 0 if none
	Answers     bool     `json:"answers"`   // its engine answered in the last 3 s; only for replicas of this shard
	ClockMS     int64    `json:"clock_ms"`
	Direction   string   `json:"direction"` // of the connection: inbound or outbound, empty without one
	Transport   string   `json:"transport"` // tcp or quic-v1
	Remote      string   `json:"remote"`    // address of the other end
	Connections int      `json:"connections"`
	OpenMS      int64    `json:"open_ms"`    // age of the connection, 0 without one
	SessionMS   int64    `json:"session_ms"` // age of the session, 0 without one
	HeardMS     int64    `json:"heard_ms"`   // age of the last frame, request or answer; -1 if there was none
	Control     Traffic  `json:"control"`
	Bulk        Traffic  `json:"bulk"`
	Failed      uint64   `json:"failed_attempts"`
	Why         string   `json:"why_not_connected"` // kind of the reason, empty if it is connected; see docs/debug.md
	WhyText     string   `json:"why_text"`          // a sentence
	Trouble     string   `json:"trouble"`           // last failure, or cause of the end of the last session
	TroubleMS   int64    `json:"trouble_ms"`        // its age, 0 without one
	BannedMS    int64    `json:"banned_ms"`         // remaining time of its ban, 0 if it is not banned
}

// Traffic counts the frames of one class in sessions with a peer since the start. Bytes are those of frames.
type Traffic struct {
	FramesIn  uint64 `json:"frames_in"`
	FramesOut uint64 `json:"frames_out"`
	BytesIn   uint64 `json:"bytes_in"`
	BytesOut  uint64 `json:"bytes_out"`
	Lost      uint64 `json:"lost_out"` // frames dropped because the queue to the peer was full
}

// Ping is the answer to POST /v1/peers/{shard}/{replica}/ping.
type Ping struct {
	Head
	To        string `json:"to"` // shard/replica
	RTTMicros int64  `json:"rtt_us"`
	Error     string `json:"error"`          // reason why there was no answer, empty if there was one
	Engine    bool   `json:"engine_answers"` // its engine answered in the last 3 s; only for replicas of this shard
	EngineUS  int64  `json:"engine_rtt_us"`  // round trip from loop to loop of the newest answered Ping, 0 if unknown
	EngineMS  int64  `json:"engine_age_ms"`  // age of that Ping
}

// LogLevels is the answer to GET and POST /v1/log/levels.
type LogLevels struct {
	Head
	Levels []LogLevel `json:"levels"` // by name
}

// LogLevel is the level of a subsystem's logger.
type LogLevel struct {
	Subsystem string `json:"subsystem"`
	Level     string `json:"level"`
}

// SetLevel is the body of POST /v1/log/levels.
type SetLevel struct {
	Subsystem string `json:"subsystem"` // empty for all of this program
	Level     string `json:"level"`     // debug, info, warn or error
}

// LogLine is one line of the answer to GET /v1/log: the answer has one JSON object a line. Either Line is set, or Lost.
type LogLine struct {
	Line string `json:"line,omitempty"` // a log line, a JSON object itself
	Lost uint64 `json:"lost,omitempty"` // number of lines that were written and that this reader did not get, because it was too slow
}

// Build is the answer to GET /v1/version.
type Build struct {
	Head
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	PID      int    `json:"pid"`
	UptimeMS int64  `json:"uptime_ms"`
	Readers  int64  `json:"log_readers"`         // that follow the log now
	Dropped  uint64 `json:"log_readers_dropped"` // that were too slow, since the start
	Config   Config `json:"config"`
}

// Config is the configuration in use, without secrets.
type Config struct {
	Network   string   `json:"network"`
	Name      string   `json:"name"`
	Consensus string   `json:"consensus"`
	Shards    int      `json:"shards"`
	Replicas  int      `json:"replicas"`
	Listen    []string `json:"listen"`
	Announce  []string `json:"announce"`
	Bootstrap []string `json:"bootstrap"`
	QUIC      bool     `json:"quic"`
	API       string   `json:"api"`
	LogLevel  string   `json:"log_level"`
}

// Why is the answer to GET /v1/why/{id}.
type Why struct {
	Head
	Tx      ledger.TxID  `json:"tx"`
	Final   bool         `json:"final"` // it waits for nothing
	Reasons []why.Reason `json:"reasons"`
}
