package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
	"bdtnode/protocols/certify"
)

// replicas is the number of replicas of each shard in these tests.
const replicas = 4

// world is a network of whole shards whose keys the test has. Its encodings are written by hand from docs/wire.md, so these
// tests do not depend on the packages that write them; the tests of shard/prove compare both.
type world struct {
	genesis []byte
	network *Network
	keys    [][]*sig.Ed25519Key // of the replicas, by shard
	owners  [][]*sig.Ed25519Key // accounts, by home shard
}

// key is the key of a seed.
func key(t testing.TB, label string, i int) *sig.Ed25519Key {
	t.Helper()
	seed := digest.Of("test/seed/1", []byte(label), wire.AppendU32(nil, uint32(i)))
	k, err := sig.Ed25519FromSeed(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// genesisFile is the genesis of a network with so many shards, as JSON.
func genesisFile(t testing.TB, name string, shards int) (file []byte, keys [][]*sig.Ed25519Key) {
	t.Helper()
	type member struct {
		Key  string `json:"key"`
		Peer string `json:"peer"`
		Coin string `json:"coin"`
	}
	var specs []map[string][]member
	for s := range shards {
		var list []member
		keys = append(keys, nil)
		for i := range replicas {
			k := key(t, name, s*replicas+i)
			keys[s] = append(keys[s], k)
			list = append(list, member{k.Public().String(), fmt.Sprintf("peer-%d-%d", s, i), k.Public().String()})
		}
		specs = append(specs, map[string][]member{"members": list})
	}
	file, err := json.Marshal(map[string]any{
		"version": genesisVersion, "name": name, "time_ms": 1000, "consensus": "bdt", "horizon_ms": 900_000,
		"parameters": map[string]any{"least_fee": 2}, "shards": specs, "allocations": []any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return file, keys
}

func newWorld(t testing.TB, name string, shards int) *world {
	t.Helper()
	w := &world{owners: make([][]*sig.Ed25519Key, shards)}
	w.genesis, w.keys = genesisFile(t, name, shards)
	var err error
	if w.network, err = ReadGenesis(w.genesis); err != nil {
		t.Fatal(err)
	}
	for i := 0; slices.ContainsFunc(w.owners, func(o []*sig.Ed25519Key) bool { return len(o) < 2 }); i++ {
		k := key(t, "owner", i)
		s := home(addressOf(k), shards)
		w.owners[s] = append(w.owners[s], k)
	}
	return w
}

func addressOf(k *sig.Ed25519Key) digest.Digest {
	public := k.Public()
	return digest.Of("bdt/address/1", public[:])
}

// tx encodes a transaction that spends an output of 10 in each shard of from, and creates one in each shard of to.
func (w *world) tx(from, to []uint16) []byte {
	b := append([]byte{1}, w.network.id[:]...)
	b = append(wire.AppendU64(b, 99_000), byte(len(from)))
	var signers []*sig.Ed25519Key
	for i, s := range from {
		k := w.owners[s][0]
		outpoint := digest.Of("test/output/1", []byte{byte(i)})
		public := k.Public()
		b = append(wire.AppendU16(append(b, outpoint[:]...), 3), public[:]...)
		b = wire.AppendU64(b, 10)
		if !slices.Contains(signers, k) {
			signers = append(signers, k)
		}
	}
	b = append(b, byte(len(to)))
	for _, s := range to {
		owner := addressOf(w.owners[s][1])
		b = wire.AppendU64(append(b, owner[:]...), 10*uint64(len(from))/uint64(len(to)))
	}
	b = wire.AppendU64(b, 10*uint64(len(from))%uint64(len(to)))
	message := digest.Of("bdt/tx-signing/1", b)
	for _, k := range signers {
		s := k.Sign(message[:])
		b = append(b, s[:]...)
	}
	return b
}

// headerBytes encodes a header.
func headerBytes(network digest.Digest, shard uint16, height uint64, txRoot, receipts digest.Digest, committee uint32) []byte {
	filler := digest.Of("test/filler/1", wire.AppendU64(nil, height))
	b := append([]byte{headerVersion}, network[:]...)
	b = wire.AppendU64(wire.AppendU16(b, shard), height)
	b = wire.AppendU64(wire.AppendU64(b, 3), height) // epoch and slot
	b = append(append(append(b, 0), filler[:]...), filler[:]...)
	b = append(append(b, txRoot[:]...), receipts[:]...)
	b = append(append(b, filler[:]...), filler[:]...) // outbox root and write set
	b = wire.AppendU64(wire.AppendU64(b, 50_000+height), 77)
	b = append(wire.AppendU64(b, 0), make([]byte, digest.Size)...)
	return append(wire.AppendU32(b, committee), make([]byte, 2*digest.Size)...)
}

// block makes a block of a shard with so many receipts, of which the transaction has some, and the proof of these.
func (w *world) block(shard uint16, height uint64, tx []byte, count int, results ...Result) Block {
	id := digest.Of("bdt/tx/1", tx)
	h := header{shard: shard, height: height, timeMS: 50_000 + height}
	ids, leaves := make([]digest.Digest, count), make([]digest.Digest, count)
	var at []int
	for i := range ids {
		of := Result{uint32(i), Settled, 0}
		ids[i] = digest.Of("test/other/1", wire.AppendU64(nil, height), []byte{byte(i)})
		if k := slices.IndexFunc(results, func(r Result) bool { return int(r.Position) == i }); k >= 0 {
			ids[i], of = id, results[k]
			at = append(at, i)
		}
		leaves[i] = receiptLeaf(ids[i], &h, of)
	}
	b := Block{Header: headerBytes(w.network.id, shard, height, merkle.Root(ids), merkle.Root(leaves), 0), Receipts: uint32(count), Results: results}
	for _, d := range merkle.ProveSet(ids, at).Path {
		b.Included = append(b.Included, d)
	}
	for _, d := range merkle.ProveSet(leaves, at).Path {
		b.Recorded = append(b.Recorded, d)
	}
	b.Signatures = w.signed(shard, b.Header, 0, 2)
	return b
}

// signed has the signatures of replicas of a shard on a header.
func (w *world) signed(shard uint16, encoded []byte, signers ...uint16) []Signature {
	c := w.network.committees[shard]
	height := wire.NewReader(encoded[1+digest.Size+2:]).U64()
	statement := certify.Statement(c, height, digest.Of("bdt/header/2", encoded))
	var out []Signature
	for _, i := range signers {
		out = append(out, Signature{i, w.keys[shard][i].Sign(statement)})
	}
	return out
}

// result at a position.
func at(position uint32, v Verdict, reason ...uint8) Result {
	r := Result{Position: position, Verdict: v}
	if len(reason) > 0 {
		r.Reason = reason[0]
	}
	return r
}

// sample is a right proof, and its result.
type sample struct {
	name    string
	proof   *Proof
	settled bool
	reason  uint8
}

// Numbers of reasons in these tests.
const (
	consumed  = 14
	elsewhere = 20
)

// samples are right proofs of every kind.
func (w *world) samples() []sample {
	inside, between, many := w.tx([]uint16{0}, []uint16{0}), w.tx([]uint16{0}, []uint16{1}), w.tx([]uint16{0, 1}, []uint16{1, 2})
	return []sample{
		{"inside-settled", &Proof{inside, []Block{w.block(0, 7, inside, 5, at(3, Settled))}}, true, 0},
		{"inside-rejected", &Proof{inside, []Block{w.block(0, 7, inside, 1, at(0, Rejected, consumed))}}, false, consumed},
		{"across-settled", &Proof{between, []Block{w.block(0, 7, between, 9, at(2, Spent), at(3, Settled)), w.block(1, 4, between, 3, at(2, Settled))}}, true, 0},
		{"three-settled", &Proof{many, []Block{
			w.block(0, 7, many, 5, at(3, Spent)), w.block(0, 9, many, 2, at(1, Settled)),
			w.block(1, 3, many, 17, at(0, Spent), at(16, Settled)), w.block(2, 6, many, 4, at(0, Settled)),
		}}, true, 0},
		{"three-returned", &Proof{many, []Block{
			w.block(0, 7, many, 5, at(3, Spent)), w.block(0, 9, many, 2, at(1, Returned, consumed)),
			w.block(1, 3, many, 4, at(2, Rejected, consumed)), w.block(2, 6, many, 1, at(0, Rejected, consumed)),
		}}, false, consumed},
	}
}
