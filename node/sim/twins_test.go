package sim

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/twins"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

var (
	allTwins = flag.Bool("sim.twins.all", false, "let TestTwinsTwoRounds run every scenario with all lengths of rounds")
	oneTwins = flag.Int("sim.twins.at", -1, "the one scenario that TestTwinsTwoRounds runs")
)

// partitions lists all partitions of some nodes, each as the group of every node. Group k+1 begins after group k.
func partitions(nodes int) [][]int {
	all := [][]int{nil}
	for range nodes {
		var longer [][]int
		for _, p := range all {
			next := 0
			if len(p) > 0 {
				next = slices.Max(p) + 1
			}
			for g := range next + 1 {
				longer = append(longer, append(slices.Clone(p), g))
			}
		}
		all = longer
	}
	return all
}

// swapped is a partition with two nodes exchanged.
func swapped(p []int, a, b int) []int {
	p = slices.Clone(p)
	p[a], p[b] = p[b], p[a]
	names := make(map[int]int)
	for i, g := range p {
		if _, ok := names[g]; !ok {
			names[g] = len(names)
		}
		p[i] = names[g]
	}
	return p
}

// twinScenario is a scenario of two rounds at n = 4.
type twinScenario struct {
	twin          protocols.Index
	first, second []int
}

// twinScenarios lists those of two rounds at n = 4: each replica in turn is twins, and each round has any partition of
// the five nodes. The twins of one replica start alike and nothing distinguishes them. So of two scenarios that differ
// by an exchange of the two, only the first is in the list; left is the number of scenarios left out.
//
// Honest replicas are not exchanged with each other, as the paper does, because they lead different epochs, and several
// epochs fit into a round.
func twinScenarios() (all []twinScenario, left int) {
	const n = 4
	ps := partitions(n + 1)
	for t := range n {
		for _, a := range ps {
			for _, b := range ps {
				c := slices.Compare(a, swapped(a, t, n))
				if c == 0 {
					c = slices.Compare(b, swapped(b, t, n))
				}
				if c > 0 {
					left++
					continue
				}
				all = append(all, twinScenario{protocols.Index(t), a, b})
			}
		}
	}
	return all, left
}

// twinLengths are durations of rounds. In a short round a message hardly arrives; a middle one has room for some slots
// and the end of an epoch; in a long one a replica without progress loses patience.
var twinLengths = []struct {
	lasts time.Duration
	txs   int
}{{10 * time.Millisecond, 1}, {300 * time.Millisecond, 4}, {2600 * time.Millisecond, 2}}

// config is a scenario with durations of its rounds, by their number among all combinations.
func (x twinScenario) config(seed uint64, lengths int) Config {
	n := len(twinLengths)
	first, second := twinLengths[lengths/n%n], twinLengths[lengths%n]
	a := &twins.Twins{
		Rounds: []twins.Round{{Lasts: first.lasts, Groups: x.first, Txs: first.txs}, {Lasts: second.lasts, Groups: x.second, Txs: second.txs}},
		Loses:  seed%3 == 2,
	}
	return Config{
		Seed: seed, Active: twins.Gathering + first.lasts + second.lasts + 10*time.Millisecond, Settle: time.Minute,
		Shards: []Shard{{Nodes: 4, Delay: 5 * time.Millisecond, Slots: 1 + seed/3%4, Byzantine: []Byzantine{{Replica: x.twin, Behaviour: a}}}},
	}
}

// someTwins is the number of scenarios that run by default, and twinStride their distance in the enumeration.
const someTwins, twinStride = 250, 199

// TestTwinsTwoRounds runs scenarios of twins of two rounds: some of them, all, or one. The seed of scenario k is k more
// than -sim.first. It determines the delays, the slots of an epoch, and whether frames across a partition arrive when
// the round ends or are lost with their connection.
func TestTwinsTwoRounds(t *testing.T) {
	all, left := twinScenarios()
	kinds := len(twinLengths) * len(twinLengths)
	number := kinds * len(all)
	t.Logf("%d scenarios of two rounds, %d that are symmetric to one of them left out; %d with all lengths of rounds", len(all), left, number)
	run := func(k int) (*Report, error) {
		return Run(t.Context(), all[k/kinds].config(*first+uint64(k), k%kinds), nil)
	}
	if *oneTwins >= 0 {
		if _, err := run(*oneTwins); err != nil {
			report(t, err)
		}
		return
	}
	count := someTwins
	if *allTwins {
		count = number
	}
	var (
		begun       = time.Now()
		total       Report
		mutex       sync.Mutex
		jobs        sync.WaitGroup
		ran, failed int
		workers     = runtime.GOMAXPROCS(0)
		once        = flag.Lookup("test.failfast").Value.String() == "true"
	)
	for w := range workers {
		jobs.Go(func() {
			for i := w; i < count; i += workers {
				k := i * twinStride % number // each once: the two numbers have no common factor
				r, err := run(k)
				mutex.Lock()
				ran++
				if err != nil {
					if failed++; failed <= 5 {
						t.Errorf("%v\ngo test ./node/sim -run TestTwinsTwoRounds -sim.twins.at %d -sim.first %d -sim.events", err, k, *first)
					}
				}
				if r != nil {
					total.Virtual += r.Virtual
					total.Events += r.Events
					total.Commits += r.Commits
					total.Epochs += r.Epochs
					total.Fallbacks += r.Fallbacks
					total.Settled += r.Settled
				}
				stop := failed > 0 && once
				mutex.Unlock()
				if stop {
					return
				}
			}
		})
	}
	jobs.Wait()
	t.Logf("%d run, %d violated: %v virtual in %v, %d events, %d blocks, %d epochs, %d fallbacks, %d settled", ran, failed,
		total.Virtual.Round(time.Second), time.Since(begun).Round(time.Second), total.Events, total.Commits, total.Epochs, total.Fallbacks, total.Settled)
}

// TestTwinScenarios: the enumeration has the scenarios that its comment lists.
func TestTwinScenarios(t *testing.T) {
	if n := len(partitions(5)); n != 52 {
		t.Errorf("%d partitions of five nodes, want 52", n)
	}
	all, left := twinScenarios()
	if len(all)+left != 4*52*52 {
		t.Errorf("%d scenarios and %d left out, want 4 * 52 * 52 together", len(all), left)
	}
	have := make(map[string]bool)
	for _, x := range all {
		have[fmt.Sprint(x.twin, x.first, x.second)] = true
	}
	for _, a := range partitions(5) {
		for _, b := range partitions(5) {
			for i := range 4 {
				if !have[fmt.Sprint(i, a, b)] && !have[fmt.Sprint(i, swapped(a, i, 4), swapped(b, i, 4))] {
					t.Fatalf("neither %v then %v of twin %d is there nor its mirror image", a, b, i)
				}
			}
		}
	}
}

// twinMutants are bugs that the enumeration of TestTwinsTwoRounds finds. The story of one is the number of the first
// scenario of its search.
//
// It cannot find these bugs: bugs that show after crashes only (missing records or restores), because no replica
// crashes in two rounds; bugs in checks of messages that no honest replica sends (certificates, proofs, validity of
// values, places under signatures), because twins are honest; bugs that need a scheduler that knows the coin (shares
// released early or not relayed, signatures after the coin is known), because partitions do not depend on messages; and
// quorums of 2f+1, which equal n-f at n = 4.
func twinMutants() []mutant {
	const boltMachine = "protocols/bolt/machine.go"
	return []mutant{
		{"quorums are one too small", "", "agreement certificates invariant", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return c.N() - c.F() - 1 }"},
		}},
		{"votes are counted by message", "", "blame certificates agreement", []edit{
			{boltMachine, "	if !x.voters.Add(from) {\n		return\n	}\n	t := x.votes[v.Digest]", "	t := x.votes[v.Digest]"},
			{"protocols/certificate.go", "	signed Set\n", "	signed Set\n	calls  int\n"},
			{"protocols/certificate.go", "	if !t.signed.Add(i) {\n		return false\n	}\n", "	t.calls++\n	if !t.signed.Add(i) {\n		return true\n	}\n"},
			{"protocols/certificate.go", "return len(t.sigs) }", "return t.calls }"},
		}},
		{"the parent is not checked at voting", "", "certificates invariant agreement", []edit{
			{boltMachine, "!(x.vote != nil && x.vote.Digest == b.Parent || x.qc != nil && x.qc.Digest == b.Parent)", "x.blocks[b.Parent] == nil"},
		}},
		{"Finalize is sent after the Status", "", "leaving", []edit{
			{boltMachine, "	if m.left {\n		return\n	}\n	x.finalize =", "	x.finalize ="},
		}},
		{"votes are cast after the Status", "", "leaving", []edit{
			{boltMachine, "	m.clockDue = 0\n	if m.left {\n		return\n	}\n", "	m.clockDue = 0\n"},
		}},
		{"a Status claims less than it committed", "", "invariant", []edit{
			{"protocols/bdt/leave.go", "if q := e.bolt.HighestQC(); q != nil {", "if q := e.bolt.HighestQC(); q != nil && e.number == 0 {"},
		}},
		{"the highest QC is not required", "", "invariant agreement", []edit{
			{"protocols/bdt/input.go", "	case top.Slot == 0 && x.QC != nil, top.Slot > 0 && (", "	case top.Slot > 0 && x.QC != nil && ("},
			{"protocols/bdt/input.go", "if s.Slot > 0 && (x.QC == nil || s.Slot > x.QC.Slot) {", "if s.Slot > 0 && k < 0 {"},
			{"protocols/bdt/leave.go", "newInput(e.number, from, counted, e.base, block)", "newInput(e.number, from, counted, e.base, block.Before())"},
			{"protocols/bolt/leave.go", "// LastSlotCommitted reports", "func (b *Block) Before() *Block { return nil }\n\n// LastSlotCommitted reports"},
		}},
		{"acks by number only", "", "certificates acking", []edit{
			{"protocols/lanes/machine.go", "return l.acked[p] == h.Parent ||", "return !l.acked[p].IsZero() ||"},
		}},
		{"two acks for one number", "", "signing acking certificates", []edit{
			{"protocols/lanes/machine.go", "	if _, done := l.acked[h.Seq]; done {\n		return false\n	}\n	p := h.Seq - 1\n	if p", "	p := h.Seq - 1\n	if p"},
		}},
		{"two votes for one slot", "", "signing certificates", []edit{
			{boltMachine, "	if x.proposal != nil && !wanted && !x.names(b.digest) {\n		return st\n	}\n", ""},
			{boltMachine, "	if x.proposal == nil {\n		x.proposal = p\n	}\n", "	x.proposal, x.vote = p, nil\n"},
		}},
		{"the agreement counts messages, not senders", "", "blame", []edit{
			{"protocols/mvba/broadcast.go", "	accepts           *protocols.Tally // for own\n", "	accepts           *protocols.Tally // for own\n	count int\n"},
			{"protocols/mvba/broadcast.go", "	b.echoes.Add(from, x.Signature)\n", "	b.echoes.Add(from, x.Signature)\n	b.count++\n"},
			{"protocols/mvba/broadcast.go", "b.echoes.Len() < b.cfg", "b.count < b.cfg"},
		}},
		{"nothing is sent again after a reconnection", "", "liveness signing", []edit{
			{"node/replica/replica.go", "	st.Send(to, &Position{Certified: c.certify.CertifiedHeight()})\n	c.resend(&st, to)\n", "	st.Send(to, &Position{Certified: c.certify.CertifiedHeight()})\n"},
		}},
		{"a decision is deleted when its block is certified", "517", "liveness", []edit{
			{"protocols/bdt/past.go", "x.epochs[0].number < last.Epoch {", "(x.epochs[0].number < last.Epoch || x.epochs[0].number == last.Epoch && last.Last) {"},
		}},
		{"a weak quorum of Finalize messages is enough", "", "invariant agreement", []edit{
			{boltMachine, "	if set.Len() == m.cfg.Committee.Quorum() {", "	if set.Len() == m.cfg.Committee.WeakQuorum() {"},
		}},
	}
}

// TestTwinsDisagree: twins act as only Byzantine replicas do, and are reported as faulty. They do not acknowledge two
// batches of an honest lane, because it has one for each number, nor commit two blocks, because a slot has one QC.
func TestTwinsDisagree(t *testing.T) {
	all, _ := twinScenarios()
	twice := make(map[string]int)
	blamed := 0
	for i := range 120 {
		x := all[i*47%len(all)]
		signed := make(map[signedPlace]digest.Digest)
		_, err := Run(t.Context(), x.config(uint64(i), 4), func(e Event) {
			if e.What == "blame" && e.To == int(x.twin) {
				blamed++
			}
			if m, ok := e.Detail.(protocols.Message); ok && e.What == "message" && (e.Who == int(x.twin) || e.Who == 4) {
				if what, at, d := says(m, x.twin); what != "" {
					if have, ok := signed[at]; ok && have != d {
						twice[what]++
					}
					signed[at] = d
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v, and %d times found at fault", twice, blamed)
	for _, what := range []string{"batch", "proposal", "vote", "Status", "input", "pre-vote"} {
		if twice[what] == 0 {
			t.Errorf("no twins sent two of %s for one place", what)
		}
	}
	if blamed == 0 {
		t.Error("no honest replica found twins at fault")
	}
}

// signedPlace is a place for which a replica signs one value only.
type signedPlace struct {
	kind protocols.Kind
	a, b uint64
}

// says is the kind of a message, the place for which a replica sends one value only, and the value.
func says(m protocols.Message, who protocols.Index) (what string, at signedPlace, d digest.Digest) {
	at.kind = m.Kind()
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Lane == who {
			what, at.a, d = "batch", x.Seq, x.Digest()
		}
	case *bolt.Propose:
		if x.Leader == who {
			what, at.a, at.b, d = "proposal", x.Block.Epoch, x.Block.Slot, x.Block.Digest()
		}
	case *bolt.Vote:
		what, at.a, at.b, d = "vote", x.Epoch, x.Slot, x.Digest
	case *bdt.Status:
		what, at.a, d = "Status", x.Epoch, digest.Of("bdt/simulated-saying/1", x.Append(nil))
	case *mvba.Proposal:
		what, at.a, at.b, d = "input", x.Instance.Epoch, uint64(x.Round), x.Digest
	case *mvba.PreVote:
		what, at.a, at.b, d = "pre-vote", x.Instance.Epoch, uint64(x.Round), x.Digest
	}
	return what, at, d
}

// TestTwinsNetwork: messages to the identity reach both nodes, and messages of either come from it. The two never
// receive each other's messages. Nodes on two sides of a partition receive nothing from each other while it holds.
func TestTwinsNetwork(t *testing.T) {
	const twin, second = 1, 4
	x := twinScenario{twin, []int{0, 0, 0, 1, 1}, []int{0, 1, 1, 0, 2}}
	heard := make(map[[2]int]bool)
	acked := make(map[int]bool) // by node
	var groups []int
	_, err := Run(t.Context(), x.config(3, 4), func(e Event) {
		switch {
		case e.What == "groups":
			groups = map[any][]int{twins.GroupString(x.first): x.first, twins.GroupString(x.second): x.second}[e.Detail]
		case e.What == "message":
			heard[[2]int{e.Who, e.To}] = true
			if _, ok := e.Detail.(*lanes.Ack); ok {
				acked[e.To] = true // the message was for this replica alone
			}
			if groups != nil && groups[e.Who] != groups[e.To] {
				t.Errorf("%v crosses %s", e, twins.GroupString(groups))
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !acked[twin] || !acked[second] {
		t.Errorf("acks came to %v, want both twins among them", acked)
	}
	for a := range second + 1 {
		for b := range second + 1 {
			apart := a == b || min(a, b) == twin && max(a, b) == second
			if heard[[2]int{a, b}] == apart {
				t.Errorf("node %d hears %d: %v", b, a, !apart)
			}
		}
	}
}

// TestTwinsRefused: twins count as Byzantine.
func TestTwinsRefused(t *testing.T) {
	for name, byzantine := range map[string][]Byzantine{
		"two of four":    {{Replica: 0, Behaviour: &twins.Twins{}}, {Replica: 1, Behaviour: &twins.Twins{}}},
		"and another":    {{Replica: 0, Behaviour: &twins.Twins{}}, {Replica: 1, Behaviour: &adversary.Silent{}}},
		"a replica more": {{Replica: 4, Behaviour: &twins.Twins{}}},
	} {
		cfg := twinScenario{0, nil, nil}.config(1, 0)
		cfg.Shards[0].Byzantine = byzantine
		if _, err := Run(t.Context(), cfg, nil); err == nil {
			t.Errorf("%s: ran", name)
		}
	}
}

// TestTwinsAmongShards: of seven replicas two may be twins. They may also have other adversaries, and they crash as
// others do, also with several shards.
func TestTwinsAmongShards(t *testing.T) {
	p := Plan{Shards: 2, Nodes: []int{7}, For: 8 * time.Second}
	if err := p.ParseFaults("twins,double-votes,forged-lds,crashes"); err != nil {
		t.Fatal(err)
	}
	cfg, err := p.Scenario(*first)
	if err != nil {
		t.Fatal(err)
	}
	for k := range cfg.Shards {
		if n := cfg.Shards[k].places(); n != 8 {
			t.Errorf("shard %d has %d nodes, want 8", k, n)
		}
	}
	r, err := Run(t.Context(), cfg, nil)
	if err != nil {
		report(t, err)
	} else if r.Settled == 0 {
		t.Error("nothing settled")
	}
}
