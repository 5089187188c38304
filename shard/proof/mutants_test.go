package proof

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	mutants = flag.Int("proof.mutants", 20_000, "number of changed proofs that TestMutants tries")
	seed    = flag.Uint64("proof.seed", 1, "seed of TestMutants")
)

// mutation changes a decoded proof. others are right proofs to take parts from.
type mutation struct {
	name   string
	change func(w *world, rng *rand.Rand, p *Proof, others []*Proof)
}

func anyBlock(rng *rand.Rand, p *Proof) *Block { return &p.Blocks[rng.IntN(len(p.Blocks))] }

func anyOf[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// flip changes one bit.
func flip(rng *rand.Rand, b []byte) { b[rng.IntN(len(b))] ^= 1 << rng.IntN(8) }

func anySibling(rng *rand.Rand, b *Block) *[32]byte {
	if n := rng.IntN(len(b.Included) + len(b.Recorded) + 1); n < len(b.Included) {
		return &b.Included[n]
	} else if n -= len(b.Included); n < len(b.Recorded) {
		return &b.Recorded[n]
	}
	return nil
}

// mutations of the parts of a proof. Changes of single bytes anywhere are made apart from them.
var mutations = []mutation{
	{"a bit of the transaction", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) { flip(rng, p.Tx) }},
	{"a byte of the transaction less", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		k := rng.IntN(len(p.Tx))
		p.Tx = slices.Delete(p.Tx, k, k+1)
	}},
	{"another transaction", func(_ *world, rng *rand.Rand, p *Proof, o []*Proof) { p.Tx = anyOf(rng, o).Tx }},
	{"a bit of a header", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) { flip(rng, anyBlock(rng, p).Header) }},
	{"another header", func(_ *world, rng *rand.Rand, p *Proof, o []*Proof) {
		anyBlock(rng, p).Header = anyBlock(rng, anyOf(rng, o)).Header
	}},
	{"another header, signed again by f replicas", func(w *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		flip(rng, b.Header[35:])
		shard := uint16(b.Header[33])<<8 | uint16(b.Header[34])
		b.Signatures[rng.IntN(len(b.Signatures))] = w.signed(shard, b.Header, 0)[0]
	}},
	{"a bit of a signature", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		flip(rng, b.Signatures[rng.IntN(len(b.Signatures))].Bytes[:])
	}},
	{"another signer", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		b.Signatures[rng.IntN(len(b.Signatures))].Signer = uint16(rng.IntN(replicas + 1))
	}},
	{"signers exchanged", func(_ *world, _ *rand.Rand, p *Proof, _ []*Proof) {
		s := p.Blocks[0].Signatures
		s[0].Bytes, s[1].Bytes = s[1].Bytes, s[0].Bytes
	}},
	{"a signature less", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		k := rng.IntN(len(b.Signatures))
		b.Signatures = slices.Delete(b.Signatures, k, k+1)
	}},
	{"another certificate", func(_ *world, rng *rand.Rand, p *Proof, o []*Proof) {
		anyBlock(rng, p).Signatures = slices.Clone(anyBlock(rng, anyOf(rng, o)).Signatures)
	}},
	{"a certificate of another shard", func(w *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		shard := uint16(b.Header[33])<<8 | uint16(b.Header[34])
		b.Signatures = w.signed((shard+1)%3, b.Header, 0, 1, 2, 3)
	}},
	{"another position", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		r := anyBlock(rng, p).Results
		r[rng.IntN(len(r))].Position = uint32(rng.IntN(20))
	}},
	{"another number of receipts", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		anyBlock(rng, p).Receipts = uint32(rng.IntN(40))
	}},
	{"another verdict", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		r := anyBlock(rng, p).Results
		r[rng.IntN(len(r))].Verdict = Verdict(rng.IntN(6))
	}},
	{"another result", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		r := anyBlock(rng, p).Results
		r[rng.IntN(len(r))] = at(r[0].Position, anyOf(rng, []Verdict{Rejected, Returned}), uint8(1+rng.IntN(25)))
	}},
	{"a result less", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		b.Results = b.Results[:len(b.Results)-1]
	}},
	{"a bit of a sibling", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		if s := anySibling(rng, anyBlock(rng, p)); s != nil {
			flip(rng, s[:])
		}
	}},
	{"two siblings exchanged", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		a, b := anySibling(rng, anyBlock(rng, p)), anySibling(rng, anyBlock(rng, p))
		if a != nil && b != nil {
			*a, *b = *b, *a
		}
	}},
	{"a sibling less", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		if b := anyBlock(rng, p); len(b.Included) > 0 {
			k := rng.IntN(len(b.Included))
			b.Included, b.Recorded = slices.Delete(b.Included, k, k+1), slices.Delete(b.Recorded, k, k+1)
		}
	}},
	{"a sibling more", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		b := anyBlock(rng, p)
		b.Included, b.Recorded = append(b.Included, [32]byte{}), append(b.Recorded, [32]byte{})
	}},
	{"another block", func(_ *world, rng *rand.Rand, p *Proof, o []*Proof) {
		*anyBlock(rng, p) = *anyBlock(rng, anyOf(rng, o))
	}},
	{"a block less", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		k := rng.IntN(len(p.Blocks))
		p.Blocks = slices.Delete(p.Blocks, k, k+1)
	}},
	{"a block more", func(_ *world, rng *rand.Rand, p *Proof, o []*Proof) {
		p.Blocks = slices.Insert(p.Blocks, rng.IntN(len(p.Blocks)+1), *anyBlock(rng, anyOf(rng, o)))
	}},
	{"blocks in another order", func(_ *world, rng *rand.Rand, p *Proof, _ []*Proof) {
		rng.Shuffle(len(p.Blocks), func(i, j int) { p.Blocks[i], p.Blocks[j] = p.Blocks[j], p.Blocks[i] })
	}},
}

// changeBytes changes an encoding without regard to its parts.
func changeBytes(rng *rand.Rand, b, other []byte) []byte {
	at := rng.IntN(len(b))
	switch rng.IntN(6) {
	case 0:
		flip(rng, b)
	case 1:
		b[at] = byte(rng.Uint32())
	case 2:
		b = b[:at]
	case 3:
		b = slices.Insert(b, at, byte(rng.Uint32()))
	case 4:
		b = append(b[:at:at], other[rng.IntN(len(other)):]...)
	default:
		copy(b[at:], other[rng.IntN(len(other)):])
	}
	return b
}

// TestMutants: of many changed proofs and certificates none is accepted, except those that are a right proof again.
// docs/testing.md has the command for 10^6.
func TestMutants(t *testing.T) {
	w := newWorld(t, "network", 3)
	rng := rand.New(rand.NewPCG(*seed, 1))
	right := make(map[string]string)
	var encodings [][]byte
	for _, s := range w.samples() {
		encodings = append(encodings, s.proof.Encode())
		right[string(encodings[len(encodings)-1])] = s.name
	}
	refused := make(map[Part]int)
	by := make(map[string]int)
	for tried := 0; tried < *mutants; {
		raw := slices.Clone(anyOf(rng, encodings))
		name := "bytes"
		if k := rng.IntN(len(mutations) + 8); k >= len(mutations) {
			raw = changeBytes(rng, raw, anyOf(rng, encodings))
		} else {
			name = mutations[k].name
			p, others := decoded(t, raw), make([]*Proof, len(encodings))
			for i := range encodings {
				others[i] = decoded(t, encodings[i])
			}
			mutations[k].change(w, rng, p, others)
			raw = p.Encode()
			if _, err := p.Verify(w.network); err == nil && right[string(raw)] == "" {
				t.Fatalf("%s: accepted before it is encoded:\n%x", name, raw)
			}
		}
		if right[string(raw)] != "" {
			continue // the change restored a right proof
		}
		tried++
		by[name]++
		p, err := Decode(raw)
		if err == nil {
			_, err = p.Verify(w.network)
		}
		var bad *Error
		if !errors.As(err, &bad) {
			t.Fatalf("%s: accepted, error %v:\n%x", name, err, raw)
		}
		refused[bad.Part]++
	}
	t.Logf("%d refused: %v", *mutants, refused)
	for _, m := range mutations {
		if by[m.name] == 0 {
			t.Errorf("%s: never tried", m.name)
		}
	}
	for _, part := range []Part{PartEncoding, PartTransaction, PartNetwork, PartHeader, PartCertificate, PartInclusion, PartReceipt, PartVerdicts, PartSettlement} {
		if refused[part] == 0 {
			t.Errorf("no proof was refused for its %s", part)
		}
	}
}

func decoded(t testing.TB, raw []byte) *Proof {
	t.Helper()
	p, err := Decode(bytes.Clone(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
