package ledger

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
)

// failer is the common interface of *testing.T, *testing.B, *testing.F and *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

const (
	genesisTime = 1_000_000_000 // Unix ms
	horizon     = 10 * 60_000
)

var (
	testNet  = digest.Of("test-network")
	ideal    = sig.NewIdeal(1)
	oneShard = func(Address) uint16 { return 0 }
)

func signer(i int) sig.Signer { return ideal.Signer(uint64(i)) }
func addressOf(i int) Address { return AddressOf(signer(i).Public()) }
func genesisOut(i, k int) Outpoint {
	return Outpoint{genesisID(testNet, i, addressOf(i), 0), uint16(k)}
}

// testConfig gives each person the same number of genesis outputs of the same amount.
func testConfig(people int, outputs uint32, amount uint64) Config {
	c := Config{Network: testNet, Home: oneShard, GenesisTimeMS: genesisTime, HorizonMS: horizon}
	for i := range people {
		c.Allocations = append(c.Allocations, Allocation{addressOf(i), amount, outputs})
	}
	return c
}

func open(t failer, store kv.Store, c Config) *State {
	t.Helper()
	s, err := Open(store, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pay makes a transaction of person from, which spends outputs of one amount each.
func pay(t failer, from int, amount uint64, spend []Outpoint, fee uint64, outs ...Output) *Tx {
	t.Helper()
	b := Body{Network: testNet, ExpiryMS: genesisTime + 60_000, Outputs: outs, Fee: fee}
	for _, o := range spend {
		b.Inputs = append(b.Inputs, Input{o, signer(from).Public(), amount})
	}
	return signed(t, b, from)
}

func signed(t failer, b Body, people ...int) *Tx {
	t.Helper()
	var signers []sig.Signer
	for _, p := range people {
		signers = append(signers, signer(p))
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// run executes one block of transactions, after checking each payload as a replica does.
func run(t failer, s *State, timeMS uint64, txs ...*Tx) *Block {
	t.Helper()
	in := CommittedBlock{Height: s.Height() + 1, Epoch: 1, Slot: s.Height() + 1, TimeMS: timeMS}
	in.Digest = digest.Of("test-block", in.Digest[:])
	if len(txs) > 0 {
		raw := make([][]byte, len(txs))
		for i := range txs {
			raw[i] = txs[i].Encode()
		}
		p, err := CheckPayload(nil, ideal, testNet, EncodePayload(raw))
		if err != nil {
			t.Fatal(err)
		}
		in.Payloads = []*Payload{p}
	}
	b, err := s.Execute(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustReceipt(t testing.TB, s *State, id TxID) Receipt {
	t.Helper()
	r, ok, err := s.Receipt(id)
	if err != nil || !ok {
		t.Fatalf("no receipt of %s: %v", id, err)
	}
	return r
}
