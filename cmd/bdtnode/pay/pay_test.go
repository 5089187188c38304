package pay

import (
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

var terms = Terms{Network: digest.Of("test"), ExpiryMS: 1000, Fee: 1}

func newWallet(t rapid.TB, amounts ...uint64) *Wallet {
	key, err := sig.GenerateEd25519(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWallet(key)
	for i, a := range amounts {
		w.Add(Coin{Outpoint: ledger.Outpoint{Index: uint16(i)}, Amount: a})
	}
	return w
}

func TestTransferPicks(t *testing.T) {
	for name, c := range map[string]struct {
		coins  []uint64
		amount uint64 // a fee of 1 is added
		inputs []uint64
		change uint64
		err    error
	}{
		"exact":                  {[]uint64{3, 6, 9}, 5, []uint64{6}, 0, nil},
		"smallest single enough": {[]uint64{100, 7, 50, 3}, 10, []uint64{50}, 39, nil},
		"two":                    {[]uint64{5, 6, 1, 2}, 9, []uint64{6, 5}, 1, nil},
		"all":                    {[]uint64{1, 1, 1}, 2, []uint64{1, 1, 1}, 0, nil},
		"too little":             {[]uint64{4, 5}, 9, nil, 0, ErrFunds},
		"none":                   {nil, 1, nil, 0, ErrFunds},
		"overflow":               {[]uint64{4, 5}, math.MaxUint64, nil, 0, ErrFunds},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWallet(t, c.coins...)
			before := w.Total()
			to := ledger.Address{1}
			tx, err := w.Transfer(terms, to, c.amount)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				if w.Total() != before {
					t.Error("a failed transfer removed coins")
				}
				return
			}
			var got []uint64
			for _, in := range tx.Inputs {
				got = append(got, in.Amount)
			}
			if len(got) != len(c.inputs) {
				t.Fatalf("spends %v, want %v", got, c.inputs)
			}
			for i := range got {
				if got[i] != c.inputs[i] {
					t.Fatalf("spends %v, want %v", got, c.inputs)
				}
			}
			var change uint64
			for _, o := range tx.Outputs[1:] {
				change += o.Amount
			}
			if change != c.change || tx.Outputs[0] != (ledger.Output{Address: to, Amount: c.amount}) {
				t.Errorf("outputs %v", tx.Outputs)
			}
		})
	}
}

func TestScatteredFunds(t *testing.T) {
	ones := make([]uint64, 100)
	for i := range ones {
		ones[i] = 1
	}
	if _, err := newWallet(t, ones...).Transfer(terms, ledger.Address{}, 64); !errors.Is(err, ErrScattered) {
		t.Errorf("65 outputs needed: %v", err)
	}
	if _, err := newWallet(t, ones...).Transfer(terms, ledger.Address{}, 63); err != nil {
		t.Errorf("64 outputs needed: %v", err)
	}
}

func TestAddIsIdempotent(t *testing.T) {
	w := newWallet(t, 5, 5, 5)
	w.Add(Coin{Outpoint: ledger.Outpoint{Index: 1}, Amount: 5})
	if w.Total() != 15 {
		t.Errorf("total %d", w.Total())
	}
}

// TestTransfersAreValid: for all coins and amounts, the ledger accepts the signed transaction, no output is spent
// twice, and no value is created.
func TestTransfersAreValid(t *testing.T) {
	scheme := sig.NewEd25519()
	rapid.Check(t, func(t *rapid.T) {
		w := newWallet(t, rapid.SliceOfN(rapid.Uint64Range(1, 50), 0, 100).Draw(t, "coins")...)
		spent := map[ledger.Outpoint]bool{}
		left := w.Total()
		for range 5 {
			amount := rapid.Uint64Range(1, 200).Draw(t, "amount")
			tx, err := w.Transfer(terms, ledger.Address{9}, amount)
			if err != nil {
				if errors.Is(err, ErrFunds) && left >= amount+terms.Fee {
					t.Fatalf("no transfer of %d from %d", amount, left)
				}
				continue
			}
			if _, err := ledger.VerifyTx(scheme, terms.Network, tx.Encode()); err != nil {
				t.Fatal(err)
			}
			for _, in := range tx.Inputs {
				if spent[in.Outpoint] {
					t.Fatal("an output is spent twice")
				}
				spent[in.Outpoint] = true
				left -= in.Amount
			}
			if w.Total() != left {
				t.Fatalf("wallet holds %d, want %d", w.Total(), left)
			}
		}
	})
}

func TestReadList(t *testing.T) {
	list, err := ReadList(strings.NewReader("From, to ,amount\n# monthly\nalice, bob , 5\n\n\"carol\",dave,18446744073709551615\n"))
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	if list[0] != (Transfer{3, "alice", "bob", 5}) || list[1] != (Transfer{5, "carol", "dave", math.MaxUint64}) {
		t.Errorf("%+v", list)
	}
	if list, err := ReadList(strings.NewReader("alice,bob,5")); err != nil || len(list) != 1 {
		t.Errorf("without a header: %+v %v", list, err)
	}
	for _, in := range []string{"\ufefffrom,to,amount\nalice,bob,5\n", "\ufeffalice,bob,5\n"} {
		if list, err := ReadList(strings.NewReader(in)); err != nil || len(list) != 1 || list[0].From != "alice" {
			t.Errorf("with a byte-order mark: %+v %v", list, err)
		}
	}
	for in, want := range map[string]string{
		"\xff\xfea\x00,\x00":                     "UTF-16",
		"":                                       "no transfers",
		"from,to,amount\n":                       "no transfers",
		"a,b,1\na,b\n":                           "line 2: 2 fields",
		"a,b,1,1\n":                              "line 1: 4 fields",
		"a,b,1\n\na,b,0\n":                       `line 3: amount "0"`,
		"a,b,-1\n":                               `line 1: amount "-1"`,
		"a,b,1.5\n":                              `line 1: amount "1.5"`,
		"a,b,18446744073709551616\n":             "line 1: amount",
		",b,1\n":                                 "line 1: from is empty",
		"a,,1\n":                                 "line 1: to is empty",
		"a,b,1\na,\"b,1\n":                       "line 2",
		"a,b,1\nfrom,to,amount\n":                `line 2: amount "amount"`,
		"a,b,1\n# note\n a , b , x\n":            `line 3: amount "x"`,
		"from,to,amount\na,b,1\n\"a\"x,b,1\n":    "line 3",
		"a,b,99999999999999999999999999999999\n": "line 1: amount",
	} {
		if _, err := ReadList(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("from,to,amount\na,b,1\n")
	f.Add("a,\"b\n\",1")
	f.Fuzz(func(t *testing.T, in string) {
		list, err := ReadList(strings.NewReader(in))
		for _, x := range list {
			if err != nil || x.From == "" || x.To == "" || x.Amount == 0 || x.Line < 1 {
				t.Errorf("%+v %v", x, err)
			}
		}
	})
}
