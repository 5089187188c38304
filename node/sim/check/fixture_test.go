package check

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// replicas is the number of replicas of each shard, f = 1. Replica 3 of each is Byzantine.
const (
	replicas  = 4
	byzantine = 3
)

// fixture is the checks of one or two shards of nodes that do nothing by themselves. A test reports events, and looks at
// the checks that failed.
type fixture struct {
	*Network
	t      *testing.T
	scheme *sig.Ideal
	nodes  [][]*node // by shard
	failed []string  // the names of the checks
	detail []string
}

func newFixture(t *testing.T, shards int) *fixture {
	t.Helper()
	f := &fixture{t: t, scheme: sig.NewIdeal(1)}
	var committees []*protocols.Committee
	for k := range shards {
		committees = append(committees, committeetest.Ideal(t, f.scheme, uint64(k)*replicas, replicas, digest.Of("test network"), uint16(k)))
	}
	c := clock.New(1)
	f.Network = NewNetwork(c, settlement.NetworkOf(committees), func(check, detail string) {
		f.failed, f.detail = append(f.failed, check), append(f.detail, detail)
	})
	for k := range shards {
		s := f.Add(Facts{
			Number: uint16(k), Replicas: replicas, Places: replicas, Committee: committees[k], Scheme: f.scheme,
			Trace:       trace.Shard{Log: trace.NewLog(), Number: k},
			Allocations: []ledger.Allocation{{Amount: 100, Outputs: uint32(10 * shards)}},
		})
		var nodes []*node
		for i := range replicas {
			n := &node{id: protocols.Index(i), shard: uint16(k), honest: i != byzantine, alive: true, running: true, stored: make(map[string][]byte)}
			n.audit = ledger.Audit{Unspent: 1000, Genesis: 1000}
			nodes, s.Nodes = append(nodes, n), append(s.Nodes, n)
		}
		f.nodes = append(f.nodes, nodes)
	}
	return f
}

// one is the only shard of a fixture, or the first, and its nodes.
func (f *fixture) one() (*Shard, []*node) { return f.Shards[0], f.nodes[0] }

// holds requires that no check has failed since the last call of holds or violates.
func (f *fixture) holds(what string) {
	f.t.Helper()
	if len(f.failed) > 0 {
		f.t.Errorf("%s: %s is violated: %s", what, f.failed[0], f.detail[0])
	}
	f.failed, f.detail = nil, nil
}

// violates requires that a check has failed since the last call of holds or violates, and no other one.
func (f *fixture) violates(check, what string) {
	f.t.Helper()
	if len(f.failed) == 0 {
		f.t.Errorf("%s: no check fails, want %s", what, check)
	}
	for i, name := range f.failed {
		if name != check {
			f.t.Errorf("%s: %s is violated, want %s: %s", what, name, check, f.detail[i])
		}
	}
	f.failed, f.detail = nil, nil
}

// node is a replica whose state a test sets.
type node struct {
	id                          protocols.Index
	shard                       uint16
	honest, second, alive, dead bool // second: a second process of a Byzantine replica
	running, replaced           bool
	life                        int
	nonce, height, timeMS       uint64
	status                      replica.Status
	stored                      map[string][]byte
	audit                       ledger.Audit
	receipts                    map[ledger.TxID]ledger.Receipt
	frozen                      []ledger.Freeze
	refusal                     *ledger.Refusal
	progress                    map[ledger.TxID]admission.Progress
	pending                     int
}

var _ observe.Replica = (*node)(nil)

func (n *node) ID() protocols.Index     { return n.id }
func (n *node) Place() int              { return int(n.id) }
func (n *node) Shard() uint16           { return n.shard }
func (n *node) Honest() bool            { return n.honest }
func (n *node) Guarded() bool           { return n.honest || n.second }
func (n *node) Alive() bool             { return n.alive }
func (n *node) Dead() bool              { return n.dead }
func (n *node) Life() int               { return n.life }
func (n *node) Nonce() uint64           { return n.nonce }
func (n *node) Replaced() bool          { return n.replaced }
func (n *node) Status() replica.Status  { return n.status }
func (n *node) Running() bool           { return n.running }
func (n *node) Height() uint64          { return n.height }
func (n *node) BlockTimeMS() uint64     { return n.timeMS }
func (n *node) Audit() ledger.Audit     { return n.audit }
func (n *node) Frozen() []ledger.Freeze { return n.frozen }
func (n *node) Pending() int            { return n.pending }

func (n *node) Precheck(*ledger.Tx) *ledger.Refusal { return n.refusal }

func (n *node) Stored(key []byte) ([]byte, bool, error) {
	v, ok := n.stored[string(key)]
	return v, ok, nil
}

func (n *node) Receipt(id ledger.TxID) (ledger.Receipt, bool, error) {
	r, ok := n.receipts[id]
	return r, ok, nil
}

func (n *node) Find(id ledger.TxID) (admission.Progress, bool) {
	p, ok := n.progress[id]
	return p, ok
}

// steps reports a step of a replica with messages to all.
func (s *Shard) steps(n *node, messages ...protocols.Message) {
	var st replica.Step
	for _, m := range messages {
		st.Broadcast(m)
	}
	s.Stepped(n, &st)
}

// records reports a step of a replica with records.
func (s *Shard) records(n *node, records ...protocols.Record) {
	s.Stepped(n, &replica.Step{Persist: records})
}

// block is a block of a slot, made from its fields.
func (s *Shard) block(t *testing.T, x bolt.Block) *bolt.Block {
	t.Helper()
	if x.Cut == nil {
		x.Cut = make(lanes.Cut, replicas)
	}
	if x.Inbound == nil {
		x.Inbound = make(lanes.Cut, len(s.network.Shards))
	}
	r := wire.NewReader(x.Append(nil))
	b := bolt.ReadBlock(s.Committee, r)
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	return b
}

// commit is the record of a committed block.
func commit(b *bolt.Block) protocols.Record {
	return protocols.Record{Key: bdt.CommitKey(b.Height), Value: b.Append(nil)}
}

// other is a digest that depends on a number.
func other(k int) digest.Digest { return digest.Of("test value", []byte{byte(k)}) }

// batch is a batch of a lane.
func (f *fixture) batch(s *Shard, lane protocols.Index, seq uint64, parent digest.Digest, content int) *lanes.Batch {
	signer := f.scheme.Signer(uint64(s.Number)*replicas + uint64(lane))
	return lanes.NewBatch(s.Committee, signer, lanes.Header{Lane: lane, Seq: seq, Parent: parent, Count: 1}, []byte{byte(content)})
}

// certificate is the certificate of f+1 replicas, or of another number of them, over a statement.
func (f *fixture) certificate(s *Shard, signers int, statement []byte, d digest.Digest) protocols.Certificate {
	tally := protocols.NewTally(d)
	for i := range signers {
		tally.Add(protocols.Index(i), f.scheme.Signer(uint64(s.Number)*replicas+uint64(i)).Sign(statement))
	}
	return tally.Certificate()
}

// in is a list of shards.
func in(shards ...uint16) []uint16 { return shards }

// account is the signer of an account in a shard.
func (f *fixture) account(shard uint16) sig.Signer {
	for i := uint64(1000); ; i++ {
		if s := f.scheme.Signer(i); f.peers.Home(ledger.AddressOf(s.Public())) == shard {
			return s
		}
	}
}

// tx is a transaction that expires in a minute, with an input of 12 in each of some shards and outputs of equal value in
// each of others. Each number gives another one.
func (f *fixture) tx(number byte, inputs, outputs []uint16) *ledger.Tx {
	f.t.Helper()
	b := ledger.Body{Network: f.peers.ID(), ExpiryMS: f.clock.Now().Add(time.Minute).Millis()}
	var signers []sig.Signer
	for k, shard := range inputs {
		signers = append(signers, f.account(shard))
		b.Inputs = append(b.Inputs, ledger.Input{
			Outpoint: ledger.Outpoint{Tx: ledger.TxID{number}, Index: uint16(k)}, Key: f.account(shard).Public(), Amount: 12,
		})
	}
	for _, shard := range outputs {
		b.Outputs = append(b.Outputs, ledger.Output{Address: ledger.AddressOf(f.account(shard).Public()), Amount: uint64(12 * len(inputs) / len(outputs))})
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		f.t.Fatal(err)
	}
	return tx
}

// checksIn lists the names that are the first arguments of calls of a method, in this package's tests or in its other files.
func checksIn(t *testing.T, tests bool, method string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(x ast.Node) bool {
			if call, ok := x.(*ast.CallExpr); ok && len(call.Args) > 0 {
				name := call.Args[0]
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == method {
					if lit, ok := name.(*ast.BasicLit); ok {
						text, err := strconv.Unquote(lit.Value)
						out[text] = err == nil
					}
				}
			}
			return true
		})
	}
	return out
}

// TestEveryCheckIsTested: each check that this package reports is violated by a test of this package.
func TestEveryCheckIsTested(t *testing.T) {
	reported, tested := checksIn(t, false, "Fail"), checksIn(t, true, "violates")
	for _, name := range slices.Sorted(maps.Keys(reported)) {
		if !tested[name] {
			t.Errorf("no test violates %s", name)
		}
	}
	if len(reported) < 15 {
		t.Errorf("only %d checks found", len(reported))
	}
}
