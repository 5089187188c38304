package xshardnet

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/engine"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// request is a decoded request between replicas of any two shards.
type request struct {
	Asks   string
	Number uint64
	LD     *settlement.LD
	IDs    []digest.Digest
	Call   string
}

// recorder is a network that keeps the last request.
type recorder struct{ sent []byte }

func (r *recorder) Publish(uint16, []byte) {}

func (r *recorder) Request(_ context.Context, _ uint16, _ protocols.Index, request []byte, _ int64, each func([]byte) error) error {
	r.sent = request
	return each(wire.AppendU64(nil, 1))
}

// alone is a server of shard 0, with an engine that does not run and a network that keeps requests.
func alone(t testing.TB) (*Server, *recorder) {
	t.Helper()
	scheme := sig.NewIdeal(1)
	var committees []*protocols.Committee
	for s := range uint16(2) {
		committees = append(committees, committeetest.Ideal(t, scheme, 10*uint64(s), 4, digest.Of("network"), s))
	}
	n := settlement.NetworkOf(committees)
	state, err := ledger.Open(kv.NewMem(), ledger.Config{Network: n.ID(), Home: n.Home, GenesisTimeMS: 1_000_000, HorizonMS: 600_000, Rules: settlement.Standard()})
	if err != nil {
		t.Fatal(err)
	}
	tosses := coin.NewIdeal(1, committees[0].WeakQuorum())
	e, err := engine.New(engine.Config{Store: kv.NewMem(), Config: driver.Config{
		Coin: tosses, Shares: tosses.Holder(0), Committee: committees[0], Signer: scheme.Signer(0), Scheme: scheme, GenesisTimeMS: 1_000_000,
		State: state, Limits: admission.StandardLimits(), Network: n,
	}})
	if err != nil {
		t.Fatal(err)
	}
	x := &recorder{}
	r := New(e, x)
	return NewServer(r, func(_ context.Context, _ Peer, call []byte) ([]byte, int) { return slices.Clone(call), 0 }), x
}

// encode is the request as a service sends it.
func encode(t *testing.T, kind byte, q *request) []byte {
	t.Helper()
	server, x := alone(t)
	r := server.exchange
	ctx := context.Background()
	var err error
	switch kind {
	case askLDs:
		_, err = r.fetch(ctx, xshard.Request{Kind: xshard.Fetch, Shard: 1, Number: q.Number})
		if err != nil && strings.Contains(err.Error(), "LD:") {
			err = nil // the recorder answers with no LD
		}
	case askNext:
		_, _, err = r.position(ctx, xshard.Request{Kind: xshard.Position, Shard: 1})
	case askCall:
		_, err = NewClient(x).Call(ctx, 1, 0, []byte(q.Call), 100)
	case askCLs:
		r.pull(ctx, xshard.Request{Kind: xshard.Pull, Shard: 1, IDs: q.IDs})
	case giveLD:
		return q.LD.Append([]byte{giveLD}) // a service reads the LD from its stores
	}
	if err != nil {
		t.Fatal(err)
	}
	return x.sent
}

// decode takes a request apart, and has a service serve it if that needs no running engine.
func decode(t *testing.T, b []byte) (any, []byte, error) {
	t.Helper()
	r, _ := alone(t)
	if b[0] != giveLD {
		if err := r.Serve(context.Background(), Peer{Shard: 1}, b, func([]byte) error { return nil }); err != nil {
			return nil, nil, err
		}
	}
	kind, body := b[0], b[1:]
	q := &request{}
	switch kind {
	case askLDs:
		q.Asks, q.Number = "LDs from a number on", wire.NewReader(body).U64()
	case askNext:
		q.Asks = "the first LD that is lacking"
	case askCall:
		q.Asks, q.Call = "a client call", string(body)
	case askCLs:
		q.Asks = "CLs for transactions"
		var err error
		if q.IDs, err = readIDs(body); err != nil {
			return nil, nil, err
		}
	case giveLD:
		q.Asks = "to take an LD"
		ld, err := settlement.DecodeLD(body)
		if err != nil {
			return nil, nil, err
		}
		q.LD = ld
	default:
		return nil, nil, fmt.Errorf("request kind %d", kind)
	}
	return q, encode(t, kind, q), nil
}

// TestVectors compares all requests between replicas of any two shards with the files in testdata/wire. A kind of request
// without a file fails.
func TestVectors(t *testing.T) {
	d := ledger.NewDelivery(ledger.Delivery{Source: 1, Destination: 0, Number: 1, Applied: 3})
	ld := &settlement.LD{Header: ledger.Header{Network: digest.Of("network"), Shard: 1, Height: 5, Outbox: d.Digest()}, Count: 1, Delivery: d}
	files := map[byte]string{askLDs: "LDs", askNext: "next", askCall: "call", giveLD: "take", askCLs: "CLs"}
	sample := map[byte]*request{askLDs: {Number: 7}, askNext: {}, askCall: {Call: `{"v":1}`}, giveLD: {LD: ld}, askCLs: {IDs: []digest.Digest{digest.Of("a"), digest.Of("b")}}}
	var vectors []golden.Vector
	r, _ := alone(t)
	text := func(kind byte) string { // of a kind that is not known it is the same as of kind 0, but for the number
		err := r.Serve(context.Background(), Peer{Shard: 1}, []byte{kind}, func([]byte) error { return nil })
		return strings.ReplaceAll(fmt.Sprint(err), fmt.Sprintf("kind %d", kind), "kind")
	}
	for k := range 256 {
		kind := byte(k)
		known := text(kind) != text(0)
		if known != (files[kind] != "") {
			t.Errorf("request kind %d: known to Serve %v, has a vector %v", kind, known, files[kind] != "")
		}
		if files[kind] == "" {
			continue
		}
		vectors = append(vectors, golden.Vector{
			File: fmt.Sprintf("request-%d-%s", kind, files[kind]), Title: fmt.Sprintf("Request %d between any two replicas.", kind),
			Samples: []golden.Sample{{Name: files[kind], Encoding: bytes.Clone(encode(t, kind, sample[kind]))}},
			Decode:  func(b []byte) (any, []byte, error) { return decode(t, b) },
		})
	}
	golden.Vectors(t, "testdata/wire", vectors)
}

// FuzzServe: a request of a replica of another shard never makes Serve panic. An accepted one has the length of its kind.
func FuzzServe(f *testing.F) {
	d := ledger.NewDelivery(ledger.Delivery{Source: 1, Destination: 0, Number: 1, Applied: 3})
	ld := &settlement.LD{Header: ledger.Header{Network: digest.Of("network"), Shard: 1, Height: 5, Outbox: d.Digest()}, Count: 1, Delivery: d}
	id := digest.Of("a")
	for _, b := range [][]byte{{askNext}, wire.AppendU64([]byte{askLDs}, 7), append([]byte{askCLs}, id[:]...), ld.Append([]byte{giveLD}), {0}, {}} {
		f.Add(b)
	}
	r, _ := alone(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && b[0] == askCall { // its content is decoded by the node
			return
		}
		if err := r.Serve(t.Context(), Peer{Shard: 1}, b, func([]byte) error { return nil }); err != nil {
			return
		}
		switch n := len(b) - 1; {
		case b[0] == askLDs && n != 8, b[0] == askCLs && (n == 0 || n%digest.Size != 0 || n > xshard.MaxPulled*digest.Size):
			t.Errorf("accepted: %x", b)
		}
	})
}
