package replica

import (
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// BenchmarkDecodeVerify measures the work for one frame before the core: decoding and the checks without state. The scheme
// of the tests verifies a signature with one hash.
func BenchmarkDecodeVerify(b *testing.B) {
	x := newBench(b, 4, 1, "")
	batch := lanes.NewBatch(x.c, x.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 1, Count: 1}, make([]byte, 1<<10))
	ack := &lanes.Ack{Lane: 2, Tip: batch.Tip()}
	ack.Signature = signedAck(x, ack)
	at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 1}
	name := coin.Name{Epoch: 1, Kind: 1, Round: 1}
	for name, m := range map[string]protocols.Message{
		"Ack": ack, "Batch": batch, "FetchLD": &inbound.FetchLD{Source: 1, Tip: batch.Tip()},
		"Release": &coin.Release{Name: name, Share: x.coin.Holder(1).Share(name.Statement(x.c))}, "FetchValue": &mvba.FetchValue{Instance: at.Instance},
	} {
		b.Run(name, func(b *testing.B) {
			frame := Encode(m)
			b.ReportAllocs()
			for b.Loop() {
				got, err := Decode(x.c, frame)
				if err == nil {
					err = verify(x.c, 2, x.scheme, x.coin, 1, got)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// signedAck is the signature of replica 1 on the statement of an Ack.
func signedAck(x *bench, m *lanes.Ack) sig.Signature {
	items, err := m.SignatureChecks(x.c, 1)
	if err != nil {
		panic(err)
	}
	return x.scheme.Signer(1).Sign(items[0].Message)
}
