package proof

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/merkle"
)

// TestRightProofs: a right proof of every kind is accepted, with its result, from its encoding alone.
func TestRightProofs(t *testing.T) {
	w := newWorld(t, "network", 3)
	for _, s := range w.samples() {
		raw := s.proof.Encode()
		p, err := Decode(raw)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if again := p.Encode(); !slices.Equal(again, raw) {
			t.Errorf("%s: encoded again, it differs", s.name)
		}
		f, err := p.Verify(w.network)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if f.Settled != s.settled || f.Reason != s.reason || f.Tx.ID != digest.Of("bdt/tx/1", p.Tx) {
			t.Errorf("%s: settled %t with reason %d", s.name, f.Settled, f.Reason)
		}
		results := 0
		for _, x := range f.Shards {
			results += len(x.Results)
			for _, r := range x.Results {
				if !slices.Equal(r.Signers, []uint16{0, 2}) || r.Height == 0 || r.TimeMS != 50_000+r.Height {
					t.Errorf("%s: shard %d has %+v", s.name, x.Shard, r)
				}
			}
		}
		for _, b := range p.Blocks {
			results -= len(b.Results)
		}
		if results != 0 {
			t.Errorf("%s: %d results more than in the proof", s.name, results)
		}
		t.Logf("%s: %d bytes", s.name, len(raw))
	}
}

// edited is a deep copy of a sample, changed.
func (w *world) edited(t testing.TB, name string, edit func(p *Proof)) *Proof {
	t.Helper()
	for _, s := range w.samples() {
		if s.name == name {
			p, err := Decode(s.proof.Encode())
			if err != nil {
				t.Fatal(err)
			}
			p.Tx = slices.Clone(p.Tx)
			for i := range p.Blocks {
				p.Blocks[i].Header = slices.Clone(p.Blocks[i].Header)
			}
			edit(p)
			return p
		}
	}
	t.Fatalf("no sample %s", name)
	return nil
}

// TestWrongProofs: each rule of the check refuses a proof that violates only it, and the error names the part.
func TestWrongProofs(t *testing.T) {
	w, other := newWorld(t, "network", 3), newWorld(t, "other", 3)
	// forged makes a block of a shard that some replicas signed, with results that the shard never gave.
	forged := func(shard uint16, p *Proof, count int, results []Result, signers ...uint16) Block {
		b := w.block(shard, 30, p.Tx, count, results...)
		b.Signatures = w.signed(shard, b.Header, signers...)
		return b
	}
	type edit = func(p *Proof)
	for name, c := range map[string]struct {
		sample string
		edit   edit
		part   Part
		text   string
	}{
		"another transaction":            {"inside-settled", func(p *Proof) { p.Tx = w.tx([]uint16{0, 0}, []uint16{0}) }, PartInclusion, "no path shows transaction"},
		"a transaction without inputs":   {"inside-settled", func(p *Proof) { p.Tx = w.tx(nil, []uint16{0}) }, PartTransaction, "0 inputs"},
		"a byte after the transaction":   {"inside-settled", func(p *Proof) { p.Tx = append(p.Tx, 0) }, PartTransaction, "left over"},
		"a transaction of a network":     {"inside-settled", func(p *Proof) { p.Tx = other.tx([]uint16{0}, []uint16{0}) }, PartNetwork, "the transaction is of network"},
		"a header of another network":    {"inside-settled", func(p *Proof) { p.Blocks[0] = other.block(0, 7, p.Tx, 5, at(3, Settled)) }, PartNetwork, "shard 0, block 7: the header is of network " + other.network.id.String() + ", the genesis is that of " + w.network.id.String()},
		"a header of another version":    {"inside-settled", func(p *Proof) { p.Blocks[0].Header[0] = 1 }, PartHeader, "header version 1 is unknown, this program reads version 2"},
		"a header of an unknown shard":   {"inside-settled", func(p *Proof) { p.Blocks[0].Header[34] = 9 }, PartHeader, "the network has 3 shards"},
		"a header of another shard":      {"inside-settled", func(p *Proof) { p.Blocks[0] = w.block(1, 7, p.Tx, 5, at(3, Settled)) }, PartHeader, "does not involve the shard"},
		"a short header":                 {"inside-settled", func(p *Proof) { p.Blocks[0].Header = p.Blocks[0].Header[:HeaderSize-1] }, PartHeader, "wanted"},
		"a later committee":              {"inside-settled", func(p *Proof) { later(w, &p.Blocks[0]) }, PartHeader, "version 1 of the committee"},
		"blocks in another order":        {"across-settled", func(p *Proof) { slices.Reverse(p.Blocks) }, PartHeader, "must be in the order"},
		"a block twice":                  {"inside-settled", func(p *Proof) { p.Blocks = append(p.Blocks, p.Blocks[0]) }, PartHeader, "must be in the order"},
		"f signatures":                   {"inside-settled", func(p *Proof) { p.Blocks[0].Signatures = p.Blocks[0].Signatures[:1] }, PartCertificate, "certificate has 1 signers, want 2"},
		"no signatures":                  {"inside-settled", func(p *Proof) { p.Blocks[0].Signatures = nil }, PartCertificate, "certificate has 0 signers, want 2"},
		"one signer twice":               {"inside-settled", func(p *Proof) { s := p.Blocks[0].Signatures; s[1] = s[0] }, PartCertificate, "each once"},
		"a signer who is no member":      {"inside-settled", func(p *Proof) { p.Blocks[0].Signatures[1].Signer = replicas }, PartCertificate, "replicas 0 to 3"},
		"a signer far above":             {"inside-settled", func(p *Proof) { p.Blocks[0].Signatures[1].Signer = 65535 }, PartCertificate, "replicas 0 to 3"},
		"a signature of another replica": {"inside-settled", func(p *Proof) { p.Blocks[0].Signatures[1].Signer = 3 }, PartCertificate, "replica 3 is not one on this header"},
		"signatures of another shard": {"across-settled", func(p *Proof) {
			p.Blocks[1].Signatures = w.signed(0, p.Blocks[1].Header, 0, 1)
		}, PartCertificate, "shard 1, block 4: the signature of replica 0"},
		"signatures on another header": {"three-settled", func(p *Proof) { p.Blocks[1].Signatures = p.Blocks[0].Signatures }, PartCertificate, "shard 0, block 9"},
		"f valid signatures on a forged header": {"inside-settled", func(p *Proof) {
			b := forged(0, p, 5, []Result{at(3, Rejected, consumed)}, 0)
			b.Signatures = append(b.Signatures, p.Blocks[0].Signatures[1])
			p.Blocks[0] = b
		}, PartCertificate, "the signature of replica 2 is not one on this header"},
		"another position":          {"inside-settled", func(p *Proof) { p.Blocks[0].Results[0].Position = 2 }, PartInclusion, "at position [2] of 5"},
		"another number":            {"inside-settled", func(p *Proof) { p.Blocks[0].Receipts = 6 }, PartInclusion, "of 6"},
		"a sibling of the id":       {"inside-settled", func(p *Proof) { p.Blocks[0].Included[0][3] ^= 1 }, PartInclusion, "no path"},
		"a sibling too many":        {"inside-settled", func(p *Proof) { x := &p.Blocks[0]; x.Included = append(x.Included, x.Included[0]) }, PartInclusion, "no path"},
		"a sibling too few":         {"inside-settled", func(p *Proof) { x := &p.Blocks[0]; x.Recorded = x.Recorded[1:] }, PartReceipt, "no path"},
		"a sibling of the receipt":  {"inside-settled", func(p *Proof) { p.Blocks[0].Recorded[0][3] ^= 1 }, PartReceipt, "no path"},
		"paths exchanged":           {"inside-settled", func(p *Proof) { x := &p.Blocks[0]; x.Included, x.Recorded = x.Recorded, x.Included }, PartInclusion, "no path"},
		"another verdict":           {"inside-settled", func(p *Proof) { p.Blocks[0].Results[0] = at(3, Rejected, consumed) }, PartReceipt, "the receipt rejected at position"},
		"another reason":            {"inside-rejected", func(p *Proof) { p.Blocks[0].Results[0].Reason = elsewhere }, PartReceipt, "no path shows the receipt"},
		"an unknown verdict":        {"inside-settled", func(p *Proof) { p.Blocks[0].Results[0].Verdict = 5 }, PartReceipt, "verdict 5 with reason 0"},
		"a settlement with reason":  {"inside-settled", func(p *Proof) { p.Blocks[0].Results[0].Reason = 3 }, PartReceipt, "with reason 3"},
		"a rejection without":       {"inside-rejected", func(p *Proof) { p.Blocks[0].Results[0].Reason = 0 }, PartReceipt, "with reason 0"},
		"results in another order":  {"across-settled", func(p *Proof) { slices.Reverse(p.Blocks[0].Results) }, PartInclusion, "no path"},
		"no result":                 {"inside-settled", func(p *Proof) { p.Blocks[0].Results = nil }, PartInclusion, "no path"},
		"no block":                  {"inside-settled", func(p *Proof) { p.Blocks = nil }, PartVerdicts, "shard 0 is missing"},
		"no block of an input":      {"three-settled", func(p *Proof) { p.Blocks = slices.Delete(p.Blocks, 2, 3) }, PartVerdicts, "shard 1 is missing"},
		"no verdict of an input":    {"three-settled", func(p *Proof) { p.Blocks = slices.Delete(p.Blocks, 0, 1) }, PartVerdicts, "the first result in shard 0 is settled"},
		"no block of an output":     {"across-settled", func(p *Proof) { p.Blocks = p.Blocks[:1] }, PartSettlement, "shard 1 is missing or impossible: it has none"},
		"still in escrow":           {"three-settled", func(p *Proof) { p.Blocks = slices.Delete(p.Blocks, 1, 2) }, PartSettlement, "shard 0 is missing or impossible: it has spent"},
		"settled here, not there":   {"across-settled", func(p *Proof) { p.Blocks[1] = forged(1, p, 2, []Result{at(1, Rejected, consumed)}, 1, 2) }, PartSettlement, "shard 0 has it as settled, shard 1 as rejected"},
		"returned without a reject": {"across-settled", bothReturn(w), PartSettlement, "an input shard rejected it: false"},
		"settled and rejected": {"inside-settled", func(p *Proof) {
			p.Blocks = append(p.Blocks, forged(0, p, 1, []Result{at(0, Rejected, consumed)}, 1, 2))
		}, PartSettlement, "it has settled, rejected"},
		"an output shard with escrow": {"across-settled", func(p *Proof) { p.Blocks[1] = forged(1, p, 2, []Result{at(1, Spent)}, 1, 2) }, PartSettlement, "shard 1 is missing or impossible: it has spent"},
		"an output shard, twice":      {"across-settled", func(p *Proof) { p.Blocks[1] = forged(1, p, 2, []Result{at(0, Settled), at(1, Settled)}, 1, 2) }, PartSettlement, "it has settled, settled"},
		"inside, by way of escrow":    {"inside-settled", func(p *Proof) { p.Blocks[0] = forged(0, p, 2, []Result{at(0, Spent), at(1, Settled)}, 1, 2) }, PartVerdicts, "is spent, want settled or rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.edited(t, c.sample, c.edit)
			_, err := p.Verify(w.network)
			var bad *Error
			if !errors.As(err, &bad) || bad.Part != c.part || !strings.Contains(bad.Detail, c.text) {
				t.Fatalf("%v, want part %s with %q", err, c.part, c.text)
			}
			if want := "bad proof: " + string(c.part) + ": "; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%q does not begin with %q", err, want)
			}
		})
	}
}

// later makes version 1 of the committee certify a block.
func later(w *world, b *Block) {
	b.Header[len(b.Header)-2*digest.Size-1] = 1
	b.Signatures = w.signed(0, b.Header, 0, 2)
}

// bothReturn makes both shards end a transaction without a rejection of any input shard.
func bothReturn(w *world) func(p *Proof) {
	return func(p *Proof) {
		p.Blocks = []Block{
			w.block(0, 7, p.Tx, 4, at(1, Spent), at(2, Returned, consumed)),
			w.block(1, 4, p.Tx, 4, at(1, Rejected, consumed)),
		}
	}
}

// TestOtherGenesis: a proof is refused with the genesis of any other network, also one with the same keys.
func TestOtherGenesis(t *testing.T) {
	w, other := newWorld(t, "network", 3), newWorld(t, "other", 3)
	renamed := strings.Replace(string(w.genesis), `"name":"network"`, `"name":"renamed"`, 1)
	sameKeys, err := ReadGenesis([]byte(renamed))
	if err != nil || sameKeys.ID() == w.network.ID() {
		t.Fatalf("the renamed genesis: %v", err)
	}
	for _, n := range []*Network{other.network, sameKeys} {
		for _, s := range w.samples() {
			var bad *Error
			if _, err := s.proof.Verify(n); !errors.As(err, &bad) || bad.Part != PartNetwork {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
}

// TestMoreSignatures: a certificate may have more signatures than f+1, up to those of all replicas.
func TestMoreSignatures(t *testing.T) {
	w := newWorld(t, "network", 3)
	p := w.edited(t, "inside-settled", func(p *Proof) { p.Blocks[0].Signatures = w.signed(0, p.Blocks[0].Header, 0, 1, 2, 3) })
	if _, err := p.Verify(w.network); err != nil {
		t.Error(err)
	}
	p.Blocks[0].Signatures[3].Bytes[0] ^= 1
	if _, err := p.Verify(w.network); err == nil || !strings.Contains(err.Error(), "replica 3") {
		t.Errorf("one of four signatures is wrong: %v", err)
	}
}

// TestLaterFieldsAreAccepted: a header that sets the fields for state, next committee and history is accepted, if the
// committee of the genesis certifies it.
func TestLaterFieldsAreAccepted(t *testing.T) {
	w := newWorld(t, "network", 3)
	p := w.edited(t, "inside-settled", func(p *Proof) {
		h := p.Blocks[0].Header
		for i := HeaderSize - 108; i < HeaderSize; i++ {
			if committee := HeaderSize - 68; i < committee || i >= committee+4 {
				h[i] = byte(i)
			}
		}
		p.Blocks[0].Signatures = w.signed(0, h, 1, 3)
	})
	if _, err := p.Verify(w.network); err != nil {
		t.Error(err)
	}
}

// TestComplete: Complete finds the data that a part of one shard lacks.
func TestComplete(t *testing.T) {
	w := newWorld(t, "network", 3)
	p := w.edited(t, "three-settled", func(p *Proof) { p.Blocks = slices.Delete(p.Blocks, 1, 2) })
	f, err := p.VerifyBlocks(w.network)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range []string{"it has spent", "", "", "does not involve shard 3"} {
		err := f.Complete(uint16(s))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("shard %d: %v, want %q", s, err, want)
		}
	}
}

// TestDecodeRefuses: encodings that are not the one of a proof.
func TestDecodeRefuses(t *testing.T) {
	w := newWorld(t, "network", 3)
	s := w.samples()[2].proof
	raw := s.Encode()
	body := len(Prefix) + 1
	first := body + 4 + len(s.Tx) + 2
	receipts := first + HeaderSize + 2 + 2*66
	with := func(at int, b ...byte) []byte { return slices.Replace(slices.Clone(raw), at, at+len(b), b...) }
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":              {nil, "not a proof"},
		"JSON":                 {[]byte(`{"version":2}`), "it does not begin with"},
		"another version":      {with(body-1, 2), "proof version 2 is unknown, this program reads version 1"},
		"cut":                  {raw[:len(raw)-1], "left"},
		"longer":               {append(slices.Clone(raw), 0), "1 bytes left over"},
		"too long":             {append(slices.Clone(raw), make([]byte, MaxBytes)...), "at most 2097152"},
		"a long transaction":   {with(body, 0, 1, 0, 0), "at most 16384"},
		"many blocks":          {with(first-2, 0, 129), "at most 128"},
		"many signatures":      {with(first+HeaderSize, 0, 101), "at most 100"},
		"no results":           {with(receipts+4, 0), "want 1 or 2"},
		"three results":        {with(receipts+4, 3), "want 1 or 2"},
		"position beyond":      {with(receipts, 0, 0, 0, 3), "at positions [2 3] of 3"},
		"positions descending": {with(receipts+5, 0, 0, 0, 4), "at positions [4 3]"},
		"one position twice":   {with(receipts+5, 0, 0, 0, 3), "at positions [3 3]"},
	} {
		_, err := Decode(c.in)
		var bad *Error
		if !errors.As(err, &bad) || bad.Part != PartEncoding || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestBounds: the greatest proof fits into MaxBytes, and a path has at most 62 siblings.
func TestBounds(t *testing.T) {
	siblings := 0
	for _, at := range [][]int{{0, 1 << 31}, {5, 1<<32 - 2}, {1 << 30, 3 << 30}} {
		n, ok := merkle.Siblings(at, 1<<32-1)
		if !ok {
			t.Fatal(at)
		}
		siblings = max(siblings, n)
	}
	if siblings != 62 {
		t.Errorf("%d siblings", siblings)
	}
	block := HeaderSize + 2 + 100*66 + 4 + 1 + 2*6 + 2*32*siblings
	if most := len(Prefix) + 1 + 4 + MaxTxBytes + 2 + maxBlocks*block; most > MaxBytes {
		t.Errorf("the greatest proof has %d bytes, MaxBytes is %d", most, MaxBytes)
	}
}
