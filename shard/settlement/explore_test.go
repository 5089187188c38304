package settlement

import (
	"encoding/binary"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

var exploreAll = flag.Bool("explore.all", false, "explore all configurations of two transactions to the end (minutes)")

// Expiries in the exploration: of transactions, and of rivals that are forgotten before the transactions expire.
const (
	minute      = 60_000
	txExpiry    = genesisTime + 3*minute
	earlyExpiry = genesisTime
)

// The block times of each shard, which it reaches independently of the others. With two times, everything expires at
// once; with three, early rivals expire first.
var (
	twoTimes   = []uint64{genesisTime, genesisTime + 4*minute}
	threeTimes = []uint64{genesisTime, genesisTime + 2*minute, genesisTime + 4*minute}
)

// scenario is the start of an exploration. Clients may submit its transactions to any shard at any time and
// repeatedly. A rival is a transaction inside one shard that spends an input of the first transaction.
type scenario struct {
	name    string
	start   world
	times   []uint64
	txs     []*ledger.Tx
	rivals  [shards][]*ledger.Tx
	probes  []ledger.Outpoint       // outputs whose existence is part of the state
	replays bool                    // deliveries are also ordered again, and before their turn
	cancel  func(*CL) ledger.Notice // if not nil, CLs are ordered at any time, as these entries
}

// cancelling lets CLs come to any input shard at any time after their replicas could sign them, and repeatedly.
func cancelling(sc *scenario) *scenario {
	sc.cancel = func(c *CL) ledger.Notice { return c }
	for s := range uint16(shards) {
		sc.start.cancel(s)
	}
	return sc
}

func replaying(sc *scenario) *scenario {
	sc.replays = true
	return sc
}

// masks has the input and output shards of a transaction: bit s for shard s.
type masks struct{ in, out uint8 }

func (m masks) String() string { return fmt.Sprintf("%03b>%03b", m.in, m.out) }

func (m masks) crosses() bool { return m.in != m.out || m.in&(m.in-1) != 0 }

// transfer makes a transaction that spends one coin in each of its input shards and pays to each of its output
// shards.
func transfer(m masks, expiry uint64, coin func(s uint16) (ledger.Outpoint, uint64)) *ledger.Tx {
	b := ledger.Body{Network: network, ExpiryMS: expiry, Fee: 1}
	var total uint64
	var signers []sig.Signer
	for s := range uint16(shards) {
		if m.in>>s&1 == 1 {
			o, amount := coin(s)
			b.Inputs = append(b.Inputs, ledger.Input{Outpoint: o, Key: person(s, 0).Public(), Amount: amount})
			signers = append(signers, person(s, 0))
			total += amount
		}
	}
	left := total - b.Fee
	for s := range uint16(shards) {
		if m.out>>s&1 == 1 {
			b.Outputs = append(b.Outputs, ledger.Output{Address: address(s, 0), Amount: total / 5})
			left -= total / 5
		}
	}
	b.Outputs[0].Amount += left
	tx, err := b.Sign(signers...)
	if err != nil {
		panic(err)
	}
	return tx
}

// makeScenario makes a scenario of one or two transactions. By mode, the second one spends the same coins
// ("conflict"), others ("distinct"), or outputs of the first where it has some ("dep").
func makeScenario(rules ledger.Rules, mode string, times []uint64, rivals bool, ms ...masks) *scenario {
	sc := &scenario{name: fmt.Sprint(mode, ms), start: newWorld(rules, 2), times: times}
	sc.txs = append(sc.txs, transfer(ms[0], txExpiry, coin(0)))
	if len(ms) > 1 {
		second := coin(map[string]int{"conflict": 0, "distinct": 1, "dep": 1}[mode])
		if mode == "dep" {
			made := make(map[uint16]int)
			for i, out := range sc.txs[0].Outputs {
				made[home(out.Address)] = i
			}
			free := second
			second = func(s uint16) (ledger.Outpoint, uint64) {
				if i, ok := made[s]; ok {
					return ledger.Outpoint{Tx: sc.txs[0].ID(), Index: uint16(i)}, sc.txs[0].Outputs[i].Amount
				}
				return free(s)
			}
		}
		sc.txs = append(sc.txs, transfer(ms[1], txExpiry, second))
	}
	for _, tx := range sc.txs {
		sc.start.watch(tx)
		for _, in := range tx.Inputs {
			sc.probes = append(sc.probes, in.Outpoint)
		}
	}
	if rivals {
		for s := range uint16(shards) {
			if ms[0].in>>s&1 == 1 {
				sc.rivals[s] = append(sc.rivals[s], transfer(masks{1 << s, 1 << s}, txExpiry, coin(0)))
				if len(times) > 2 {
					sc.rivals[s] = append(sc.rivals[s], transfer(masks{1 << s, 1 << s}, earlyExpiry, coin(0)))
				}
			}
		}
	}
	return sc
}

// key encodes the part of a world's state that later events depend on. Heights and digests are not part of it.
func (sc *scenario) key(w *world, buf []byte) []byte {
	buf = buf[:0]
	for s := range uint16(shards) {
		buf = append(buf, byte((w.time[s]-genesisTime)/minute))
		for _, tx := range sc.txs {
			p, ok, err := w.states[s].Part(tx.ID())
			if err != nil {
				panic(err)
			}
			f := &w.fates[tx.ID()][s]
			buf = append(buf, byte(b2i(ok && p.Open)), byte(f.verdict), f.settled, f.returned)
			if sc.cancel != nil {
				buf = append(buf, byte(b2i(f.cancelled)))
			}
			if ok && p.Open {
				buf = append(buf, byte(p.Stage))
				for _, k := range p.Known {
					buf = append(buf, byte(k.Verdict)|byte(b2i(k.Cancelled()))<<7)
				}
			}
		}
		for _, o := range sc.probes {
			_, ok, err := w.output(s, o)
			if err != nil {
				panic(err)
			}
			buf = append(buf, byte(b2i(ok)))
		}
		for _, x := range sc.rivals[s] {
			_, ok, _ := w.states[s].Receipt(x.ID())
			buf = append(buf, byte(b2i(ok)))
		}
		for to := range shards {
			for _, d := range w.queues[s][to] {
				for _, e := range d.Entries {
					id := e.Tx.ID()
					buf = append(binary.BigEndian.AppendUint16(buf, binary.BigEndian.Uint16(id[:])), byte(e.Verdict))
				}
				buf = append(buf, '/')
			}
			buf = append(buf, '|')
		}
	}
	return buf
}

// events lists all possible next events.
func (sc *scenario) events(w *world) (out []event) {
	for s := range uint16(shards) {
		for _, tx := range sc.txs {
			p := tx.Shards(home)
			if p.Inputs.Has(s) || p.All().Has(s) && w.part(s, tx).Known == nil { // an output shard ignores it
				out = append(out, event{shard: s, txs: []*ledger.Tx{tx}})
			}
			for source := range uint16(shards) {
				if sc.cancel != nil && source != s && tx.Shards(home).Inputs.Has(s) && w.fates[tx.ID()][source].cancelled {
					out = append(out, event{shard: s, notices: []ledger.Notice{sc.cancel(&CL{Source: source, Tx: tx})}})
				}
			}
		}
		for from := range uint16(shards) {
			if len(w.queues[from][s]) > 0 {
				out = append(out, event{shard: s, deliver: []uint16{from}})
			}
			if sc.replays {
				for _, d := range w.sent[from][s] {
					out = append(out, event{shard: s, extra: []*ledger.Delivery{d}})
				}
			}
		}
		if i := slices.Index(sc.times, w.time[s]) + 1; i < len(sc.times) {
			out = append(out, event{shard: s, timeMS: sc.times[i]})
		}
		for _, x := range sc.rivals[s] {
			if _, done, _ := w.states[s].Receipt(x.ID()); !done && w.time[s] <= x.ExpiryMS {
				if _, there, _ := w.output(s, x.Inputs[0].Outpoint); there {
					out = append(out, event{shard: s, txs: []*ledger.Tx{x}})
				}
			}
		}
	}
	return out
}

func (sc *scenario) describe(e event) string {
	switch {
	case len(e.deliver) > 0:
		return fmt.Sprintf("shard %d orders the next LD of shard %d", e.shard, e.deliver[0])
	case len(e.extra) > 0:
		return fmt.Sprintf("shard %d orders an old LD of shard %d", e.shard, e.extra[0].Source)
	case e.timeMS > 0:
		return fmt.Sprintf("block time of shard %d is now %d min", e.shard, (e.timeMS-genesisTime)/minute)
	}
	if len(e.notices) > 0 {
		return fmt.Sprintf("shard %d orders a CL", e.shard)
	}
	for i, tx := range sc.txs {
		if tx == e.txs[0] {
			return fmt.Sprintf("shard %d orders T%d from a batch", e.shard, i+1)
		}
	}
	return fmt.Sprintf("shard %d orders a rival of T1", e.shard)
}

// explore visits the states reachable from the start, at most limit of them, and checks each. It returns their
// number, and the trace of events to a state that violates a guarantee.
func (sc *scenario) explore(limit int) (states int, violation error) {
	type visit struct {
		w    *world
		from int
		what string
	}
	seen := make(map[string]struct{})
	visits := []visit{{w: &sc.start, from: -1}}
	trace := func(i int, last string) string {
		lines := []string{last}
		for ; visits[i].from >= 0; i = visits[i].from {
			lines = append([]string{visits[i].what}, lines...)
		}
		return strings.Join(lines, "\n  ")
	}
	var buf []byte
	for i := 0; i < len(visits); i++ {
		w := visits[i].w
		visits[i].w = nil
		for _, e := range sc.events(w) {
			n, err := w.step(e)
			if err == nil {
				buf = sc.key(&n, buf)
				if _, again := seen[string(buf)]; again {
					continue
				}
				seen[string(buf)] = struct{}{}
				err = n.check()
			}
			if err != nil {
				return len(seen), fmt.Errorf("%s: %w\n  %s", sc.name, err, trace(i, sc.describe(e)))
			}
			visits = append(visits, visit{&n, i, sc.describe(e)})
			if len(seen) >= limit {
				return len(seen), nil
			}
		}
	}
	return len(seen), nil
}

// permuted reports whether another assignment of shard numbers gives the same configuration and comes first, so that
// this one need not be explored.
func permuted(ms []masks) bool {
	perms := [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	number := func(ms []masks, p [3]int) (n int) {
		for _, m := range ms {
			for _, x := range []uint8{m.in, m.out} {
				y := 0
				for i := range 3 {
					y |= int(x>>i&1) << p[i]
				}
				n = n<<3 | y
			}
		}
		return n
	}
	own := number(ms, perms[0])
	for _, p := range perms[1:] {
		if number(ms, p) < own {
			return true
		}
	}
	return false
}

func allMasks() (out []masks) {
	for in := uint8(1); in < 1<<shards; in++ {
		for o := uint8(1); o < 1<<shards; o++ {
			if m := (masks{in, o}); m.crosses() {
				out = append(out, m)
			}
		}
	}
	return out
}

// TestOneTransactionInEveryOrder explores all states of every transaction between three shards, with rivals of its
// inputs.
func TestOneTransactionInEveryOrder(t *testing.T) {
	times := twoTimes
	if *exploreAll {
		times = threeTimes
	}
	total := 0
	for _, m := range allMasks() {
		if permuted([]masks{m}) {
			continue
		}
		n, err := makeScenario(Standard(), "one", times, true, m).explore(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	t.Logf("%d states", total)
}

// TestTwoTransactions explores pairs of transactions that spend the same coins, different coins, or of which one
// spends outputs of the other. Without -explore.all it explores some pairs and a limited number of states.
func TestTwoTransactions(t *testing.T) {
	for _, mode := range []string{"dep", "conflict", "distinct"} {
		total, count := 0, 0
		for i, a := range allMasks() {
			for j, b := range allMasks() {
				apart := mode == "conflict" && a.in&b.in == 0 || mode == "dep" && a.out&b.in == 0
				if apart || permuted([]masks{a, b}) || !*exploreAll && (i*7+j*3)%29 != 0 {
					continue
				}
				limit := 500
				if *exploreAll {
					limit = 1 << 30
				}
				n, err := makeScenario(Standard(), mode, twoTimes, false, a, b).explore(limit)
				if err != nil {
					t.Fatal(err)
				}
				total, count = total+n, count+1
			}
		}
		t.Logf("%s: %d configurations, %d states", mode, count, total)
	}
}
