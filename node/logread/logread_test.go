package logread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/api"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a log with its batches in a consensus store.
type shelf struct {
	t         *testing.T
	committee *protocols.Committee
	signer    sig.Signer
	store     *kv.Mem
	log       *paylog.Log
	reader    *Reader
	tip       lanes.Tip
	certified uint64
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t: t, store: kv.NewMem()}
	var signers []*sig.Ed25519Key
	s.committee, signers = committeetest.Ed25519(t, 4, digest.Of("test"), 0)
	s.signer = signers[0]
	var err error
	if s.log, err = paylog.Open(kv.NewMem(), paylog.Config{Network: s.committee.Network()}); err != nil {
		t.Fatal(err)
	}
	s.reader = New(Config{Log: s.log, Committee: s.committee, Store: s.store, Certified: func() uint64 { return s.certified }})
	return s
}

func (s *shelf) set(key, value []byte) {
	var b kv.Batch
	b.Set(key, value)
	if err := s.store.Apply(&b, false); err != nil {
		s.t.Fatal(err)
	}
}

// block executes a block with a batch for each list of payloads. A payload that begins with = has itself as its id.
func (s *shelf) block(batches ...[]string) {
	s.t.Helper()
	in := ledger.CommittedBlock{Height: s.log.Height() + 1, TimeMS: 100 + s.log.Height()}
	for _, payloads := range batches {
		var raw []byte
		for _, p := range payloads {
			var id []byte
			if p[0] == '=' {
				id = fmt.Appendf(nil, "%-32s", p)
			}
			raw = ledger.AppendOpaque(raw, id, []byte(p))
		}
		h := lanes.Header{Seq: s.tip.Seq + 1, Parent: s.tip.Digest, Count: uint32(len(payloads))}
		b := lanes.NewBatch(s.committee, s.signer, h, ledger.EncodeOpaque(len(payloads), raw))
		s.tip = b.Tip()
		s.set(lanes.StoredKey(0, s.tip), b.Stored())
		p, err := ledger.DecodePayload(ledger.OpaqueKinds(), b.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		in.Payloads = append(in.Payloads, p)
		in.Batches = append(in.Batches, ledger.BatchID{Seq: s.tip.Seq, Digest: s.tip.Digest})
	}
	if _, err := s.log.Execute(in); err != nil {
		s.t.Fatal(err)
	}
}

// certify certifies the newest header.
func (s *shelf) certify() {
	h, d, _ := s.log.Tip()
	tally := protocols.NewTally(d)
	tally.Add(0, s.signer.Sign(certify.Statement(s.committee, h.Height, d)))
	c := certify.Certified{Height: h.Height, Header: d, Certificate: tally.Certificate()}
	s.set(replica.CertificateKey(h.Height), c.Append(nil))
	s.certified = h.Height
}

// all reads a stream that does not follow.
func (s *shelf) all(q api.LogQuery) (text string) {
	s.t.Helper()
	stream := s.reader.Open(q)
	for {
		part, err := stream.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return text + "to " + api.LogName(stream.At())
		}
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case part.Gap != nil:
			text += fmt.Sprintf("gap %d-%d ", part.Gap.From, part.Gap.To)
		case part.Batch == nil:
			text += "proof "
		default:
			o, err := ledger.ReadOpaque(part.Batch.Raw)
			if err != nil || o.Len() != part.Batch.Count {
				s.t.Fatalf("%d entries, want %d, %v", o.Len(), part.Batch.Count, err)
			}
			text += api.LogName(part.Batch.At) + ":"
			for _, e := range o.Each() {
				text += string(e.Payload) + ","
			}
			text += fmt.Sprint(part.Batch.Repeated, " ")
		}
	}
}

func at(t *testing.T, text string) *ledger.LogPlace {
	t.Helper()
	p, err := api.ParseLogName(text)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// TestStreams: a stream begins at any place, in the middle of a batch too, passes blocks without payloads, and says which
// entries are repeated. With proofs it begins with a whole batch and ends at the last certified block.
func TestStreams(t *testing.T) {
	s := newShelf(t)
	s.block([]string{"a", "=b", "c"}, []string{"d"})
	s.certify()
	s.block()
	s.block([]string{"e", "=b"})
	for from, want := range map[string]string{
		"0":      "1.0.0:a,=b,c,[] 1.1.0:d,[] 3.0.0:e,=b,[1] to 4.0.0",
		"1.0.1":  "1.0.1:=b,c,[] 1.1.0:d,[] 3.0.0:e,=b,[1] to 4.0.0",
		"1.0.3":  "1.1.0:d,[] 3.0.0:e,=b,[1] to 4.0.0",
		"1.9":    "3.0.0:e,=b,[1] to 4.0.0",
		"3.0.1":  "3.0.1:=b,[1] to 4.0.0",
		"4":      "to 4.0.0",
		"99.1.2": "to 99.1.2",
	} {
		if got := s.all(api.LogQuery{From: at(t, from)}); got != want {
			t.Errorf("from %s: %s, want %s", from, got, want)
		}
	}
	if got, want := s.all(api.LogQuery{From: at(t, "1.0.1"), Proofs: true}), "proof 1.0.0:a,=b,c,[] 1.1.0:d,[] to 2.0.0"; got != want {
		t.Errorf("with proofs: %s, want %s", got, want)
	}
	if got, want := s.all(api.LogQuery{From: at(t, "1"), Certified: true}), "1.0.0:a,=b,c,[] 1.1.0:d,[] to 2.0.0"; got != want {
		t.Errorf("certified: %s, want %s", got, want)
	}
	if got, want := s.all(api.LogQuery{}), "to 4.0.0"; got != want {
		t.Errorf("from now on: %s, want %s", got, want)
	}
}

// TestGaps: a block whose batch is not in the store is named, and the stream continues.
func TestGaps(t *testing.T) {
	s := newShelf(t)
	s.block([]string{"a"})
	s.block([]string{"b"})
	var b kv.Batch
	b.Delete(lanes.StoredKey(0, lanes.Tip{Seq: s.tip.Seq, Digest: s.tip.Digest}))
	if err := s.store.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
	s.block([]string{"c"})
	if got, want := s.all(api.LogQuery{From: at(t, "0")}), "1.0.0:a,[] gap 2-2 3.0.0:c,[] to 4.0.0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFollow: a stream waits for later blocks, for their certificates if they are asked for, and ends with its context.
func TestFollow(t *testing.T) {
	s := newShelf(t)
	stream := s.reader.Open(api.LogQuery{Follow: true})
	time.AfterFunc(20*time.Millisecond, func() { s.block([]string{"a"}) })
	part, err := stream.Next(t.Context())
	if err != nil || part.Batch == nil || part.Batch.At.Height != 1 {
		t.Fatalf("%+v, %v", part, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	certified := s.reader.Open(api.LogQuery{From: at(t, "1"), Follow: true, Certified: true})
	if part, err := certified.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a block without a certificate: %+v, %v", part, err)
	}
	if _, err := stream.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestPayload: one payload is read by its name. A place without one, and a proof before the certificate, are errors.
func TestPayload(t *testing.T) {
	s := newShelf(t)
	s.block([]string{"a", "=b"}, []string{"=b", "c"})
	for name, want := range map[string]string{"1.0.1": "=b", "1.1.1": "c"} {
		e, _, err := s.reader.Payload(*at(t, name), false)
		if err != nil {
			t.Fatal(err)
		}
		o, err := ledger.ReadOpaque(e.Raw)
		if err != nil || o.Len() != 1 {
			t.Fatal(o.Len(), err)
		}
		for _, x := range o.Each() {
			if string(x.Payload) != want {
				t.Errorf("%s is %q, want %q", name, x.Payload, want)
			}
		}
	}
	for _, name := range []string{"1.1.0", "1.2.0", "1.0.2", "2.0.0"} {
		if _, _, err := s.reader.Payload(*at(t, name), false); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := s.reader.Payload(*at(t, "1.0.0"), true); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("a proof without a certificate: %v", err)
	}
	s.certify()
	if _, raw, err := s.reader.Payload(*at(t, "1.0.0"), true); err != nil || len(raw) == 0 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

// TestCacheIsBounded: the batches in memory stay below their bound, and each is read again after it was dropped.
func TestCacheIsBounded(t *testing.T) {
	s := newShelf(t)
	big := string(make([]byte, 1<<20-100))
	for range cacheBytes>>20 + 4 {
		s.block([]string{"x" + big[1:]})
	}
	for range 2 {
		s.all(api.LogQuery{From: at(t, "0")})
		if s.reader.bytes > cacheBytes || s.reader.cache.Len() < 10 {
			t.Errorf("%d bytes of %d batches", s.reader.bytes, s.reader.cache.Len())
		}
	}
}
