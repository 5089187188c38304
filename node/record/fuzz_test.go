package record

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard/settlement"
)

// FuzzEntries: no content of a block of a recording makes reading its entries panic, and each entry has a byte at least, so
// reading ends.
func FuzzEntries(f *testing.F) {
	scheme := sig.NewIdeal(1)
	var committees []*protocols.Committee
	for s := range uint16(2) {
		committees = append(committees, committeetest.Ideal(f, scheme, 10*uint64(s), 4, digest.Of("network"), s))
	}
	n := settlement.NetworkOf(committees)
	at := admission.Reading{Now: 5, Ahead: 7}
	for _, x := range []*entry{
		{kind: kindEnd, why: "the test ends"}, {kind: kindRestored, at: at},
		{kind: uint8(driver.CoreTick), core: driver.CoreInput{Kind: driver.CoreTick, At: at}},
		{kind: kindAdmission + uint8(clients.AdmissionAnswer), admission: clients.AdmissionInput{Kind: clients.AdmissionAnswer, At: at, Receipt: ledger.Receipt{Height: 3, Verdict: ledger.VerdictSettled}}},
		{kind: kindAdmission + uint8(clients.AdmissionRetry), admission: clients.AdmissionInput{Kind: clients.AdmissionRetry, At: at, Retried: &ledger.Tx{}, Lookup: admission.Lookup{Height: 4}}},
	} {
		e := &encoder{}
		x.append(e)
		f.Add(e.b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for d := (&decoder{b: content}); len(d.b) > 0; {
			before := len(d.b)
			if _, err := readEntry(d, n, 0); err != nil {
				return
			}
			if len(d.b) >= before {
				t.Fatalf("an entry of no bytes: %x", content)
			}
		}
	})
}
