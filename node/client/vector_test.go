package client_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/client"
)

// vector is examples/vector.json: a transaction with all its derived values, for implementations in other languages.
// The program in examples/typescript computes the same values from it.
type vector struct {
	Seed      string         `json:"seed"`
	PublicKey string         `json:"public_key"`
	Address   ledger.Address `json:"address"`
	Shards    int            `json:"shards"`
	HomeShard uint16         `json:"home_shard"`
	Network   string         `json:"network"`
	ExpiryMS  uint64         `json:"expiry_ms,string"`
	Inputs    []vectorInput  `json:"inputs"`
	Outputs   []vectorOutput `json:"outputs"`
	Fee       uint64         `json:"fee,string"`
	Signed    string         `json:"signing_digest"`
	Signature string         `json:"signature"`
	Encoding  string         `json:"encoding"`
	ID        ledger.TxID    `json:"id"`
}

type vectorInput struct {
	Tx     ledger.TxID `json:"tx"`
	Index  uint16      `json:"index"`
	Amount uint64      `json:"amount,string"`
}

type vectorOutput struct {
	Address ledger.Address `json:"address"`
	Amount  uint64         `json:"amount,string"`
}

// derive computes the values of a vector that follow from its seed and the transaction.
func (v vector) derive(t *testing.T) vector {
	t.Helper()
	seed, err := hex.DecodeString(v.Seed)
	if err != nil {
		t.Fatal(err)
	}
	network, err := digest.Parse(v.Network)
	if err != nil {
		t.Fatal(err)
	}
	key, err := client.KeyFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	body := client.Body{Network: network, ExpiryMS: v.ExpiryMS, Fee: v.Fee}
	for _, in := range v.Inputs {
		body.Inputs = append(body.Inputs, client.Input{Outpoint: ledger.Outpoint{Tx: in.Tx, Index: in.Index}, Key: key.PublicKey(), Amount: in.Amount})
	}
	for _, out := range v.Outputs {
		body.Outputs = append(body.Outputs, client.Output(out))
	}
	tx, err := body.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyTx(sig.NewEd25519(), network, tx.Encode()); err != nil {
		t.Fatal(err)
	}
	decoded, err := ledger.DecodeTx(tx.Encode())
	if err != nil {
		t.Fatal(err)
	}
	v.PublicKey, v.Address = key.PublicKey().String(), client.AddressOf(key.PublicKey())
	v.HomeShard = client.HomeShard(v.Address, v.Shards)
	v.Signed, v.Signature = decoded.SigningDigest().String(), hex.EncodeToString(decoded.Signatures[0][:])
	v.Encoding, v.ID = hex.EncodeToString(tx.Encode()), tx.ID()
	return v
}

// TestVector: examples/vector.json has the values of this program.
func TestVector(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "examples", "vector.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(v.derive(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(raw), want) {
		t.Errorf("examples/vector.json is not\n%s", want)
	}
	if v.Outputs[0].Amount <= 1<<53 {
		t.Error("no amount is above 2^53")
	}
}
